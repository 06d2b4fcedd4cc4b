"""How Pillow reads pictures and resizes them, for the Go package that must give the same bytes.

Written below test/testdata/goldens/pillow:

    resize.json       sizes before and after, with the SHA-256 of the RGB bytes that LANCZOS makes of `pattern`
    modes/*.png       pictures of several modes, and in modes.json the bytes of convert("RGB"), in hexadecimal
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "test/testdata/goldens/pillow"
SIZES = {
    (37, 29): [(37, 29), (32, 24), (64, 64), (8, 8), (37, 8), (8, 29), (111, 87), (1, 1), (38, 30)],
    (1, 1): [(8, 8)],
    (3, 5): [(16, 8), (2, 2)],
    (640, 427): [(512, 512), (640, 424), (512, 341), (64, 40), (1024, 768)],
    (1000, 16): [(24, 16), (16, 1000)],
    (513, 511): [(512, 512), (512, 504)],
    # Around the point from which the columns are resized first.
    (100, 100): [(90, 81), (90, 80), (90, 79), (99, 50), (50, 99), (60, 120), (120, 99), (120, 101), (99, 1)],
    (40, 100): [(20, 60), (20, 59)],
    (300, 20): [(299, 18), (299, 17)],
}


def pattern(width, height):
    """Curved stripes of three frequencies that wrap, so that each filter over- and undershoots somewhere."""
    x, y = np.arange(width, dtype=np.int64), np.arange(height, dtype=np.int64)[:, None]
    planes = [(x * x * (2 * c + 1) // 16 + y * y * (3 - c) // 16 + x * y * c // 8) % 256 for c in range(3)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def modes():
    """Small pictures of each mode, by name."""
    x, y = np.arange(6), np.arange(4)[:, None]
    grey = ((x * 50 + y * 17) % 256).astype(np.uint8)
    alpha = ((x * 40 + y * 60) % 256).astype(np.uint8)  # 0 in a corner, where the colour must stay.
    colours = np.asarray(pattern(6, 4)) + 40
    palette = Image.fromarray(colours).quantize(8)
    transparent = palette.copy()
    transparent.info["transparency"] = bytes([0, 60, 255, 128, 255, 1, 255, 255])
    return {
        "rgb": Image.fromarray(colours),
        "rgba": Image.fromarray(np.dstack([colours, alpha])),
        "grey": Image.fromarray(grey),
        "grey-alpha": Image.fromarray(np.dstack([grey, alpha])),
        "bits": Image.fromarray(grey).convert("1"),
        "palette": palette,
        "palette-alpha": transparent,
    }


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "modes").mkdir(parents=True)
    cases = []
    for before, sizes in SIZES.items():
        for after in sizes:
            data = pattern(*before).resize(after, Image.Resampling.LANCZOS).tobytes()
            cases.append({"from": before, "to": after, "sha256": hashlib.sha256(data).hexdigest()})
    (FOLDER / "resize.json").write_text("[\n" + ",\n".join("  " + json.dumps(case) for case in cases) + "\n]\n")
    converted = {}
    for name, picture in modes().items():
        path = FOLDER / "modes" / f"{name}.png"
        picture.save(path)
        converted[name] = Image.open(path).convert("RGB").tobytes().hex()
    lines = [f"  {json.dumps(name)}: {json.dumps(data)}" for name, data in converted.items()]
    (FOLDER / "modes.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
