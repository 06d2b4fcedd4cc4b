"""Reads pictures that the Go encoders wrote with Pillow and piexif, as AUTOMATIC1111's web UI does.

Has the Go test write its samples to test/testdata/goldens/artifact, and records in read.json, for each file, the
parameters that are found in it, its size and the sha256 of its RGB bytes. The Go test then compares what it encodes
with what was read here.

    python artifact.py
"""

import hashlib
import json
import subprocess
from pathlib import Path

import piexif
import piexif.helper
from PIL import Image

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


def main():
    GOLDENS.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "test", "-count=1", "-run", "TestOtherReaders", "./internal/artifact", "-write-samples"], cwd=ROOT, check=True)
    rows = [read(file) for file in sorted(GOLDENS.iterdir()) if file.suffix != ".json"]
    (GOLDENS / "read.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
