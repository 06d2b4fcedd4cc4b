"""Turns pictures upright with Pillow, and reads pictures that the Go encoders wrote with Pillow and piexif, as AUTOMATIC1111's web UI does.

Has the Go test write its samples to test/testdata/goldens/artifact, and records in read.json, for each file, the
parameters that are found in it, its size and the sha256 of its RGB bytes. The Go test then compares what it encodes
with what was read here. turned/ has a picture in each of Exif's orientations, and turned.json its size upright and the colours of its
blocks. lossy/ has a picture in lossy formats, and as PNG what Pillow reads in each.

    python artifact.py
"""

import hashlib
import json
import subprocess
from pathlib import Path

import piexif
import piexif.helper
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "test/testdata/goldens/artifact"


def parameters(picture):
    """What read_info_from_image of the web UI's modules/images.py finds."""
    if "exif" not in picture.info:
        return picture.info["parameters"]
    comment = piexif.load(picture.info["exif"])["Exif"][piexif.ExifIFD.UserComment]
    return piexif.helper.UserComment.load(comment)


def read(file):
    """One file as Pillow and piexif read it."""
    with Image.open(file) as picture:
        picture.load()
        return {
            "file": file.name,
            "format": picture.format,
            "mode": picture.mode,
            "width": picture.width,
            "height": picture.height,
            "parameters": parameters(picture),
            "rgbSHA256": hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest(),
        }


def turned(orientation):
    """A picture of 2x3 flat blocks in a file that says how it lies, and what it is upright."""
    picture = Image.new("RGB", (16, 24))
    for i, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]):
        picture.paste(colour, (8 * (i % 2), 8 * (i // 2), 8 * (i % 2) + 8, 8 * (i // 2) + 8))
    name = f"{orientation}.jpg"
    exif = Image.Exif()
    exif[piexif.ImageIFD.Orientation] = orientation
    picture.save(GOLDENS / "turned" / name, quality=95, subsampling=0, exif=exif)
    with Image.open(GOLDENS / "turned" / name) as saved:
        upright = ImageOps.exif_transpose(saved).convert("RGB")
    blocks = [upright.getpixel((x, y)) for y in range(4, upright.height, 8) for x in range(4, upright.width, 8)]
    return {"file": name, "width": upright.width, "height": upright.height, "blocks": blocks}


# Files whose colours have less resolution than the picture, or all of it, with how Pillow is told to save them.
LOSSY = {
    "420.jpg": {"quality": 90, "subsampling": "4:2:0"},
    "422.jpg": {"quality": 90, "subsampling": "4:2:2"},
    "444.jpg": {"quality": 90, "subsampling": "4:4:4"},
    "lossy.webp": {"quality": 80},
    "alpha.webp": {"quality": 80},
}


def lossy():
    """Writes a colourful picture with odd sides in lossy formats, and as PNG what Pillow reads in each."""
    sheet = Image.open(ROOT / "docs/images/contact-sheet.png").convert("RGB")
    picture = sheet.crop((0, 0, 134, 110)).resize((67, 55), Image.Resampling.LANCZOS)
    transparent = picture.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(picture.size))
    for name, options in LOSSY.items():
        (transparent if name == "alpha.webp" else picture).save(GOLDENS / "lossy" / name, **options)
        with Image.open(GOLDENS / "lossy" / name) as saved:
            saved.convert("RGB").save(GOLDENS / "lossy" / f"{name}.png", optimize=True)


def main():
    (GOLDENS / "turned").mkdir(parents=True, exist_ok=True)
    (GOLDENS / "lossy").mkdir(exist_ok=True)
    lossy()
    (GOLDENS / "turned.json").write_text(json.dumps([turned(orientation) for orientation in range(1, 9)]) + "\n")
    subprocess.run(["go", "test", "-count=1", "-run", "TestOtherReaders", "./internal/artifact", "-write-samples"], cwd=ROOT, check=True)
    rows = [read(file) for file in sorted(GOLDENS.iterdir()) if file.is_file() and file.suffix != ".json"]
    (GOLDENS / "read.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
