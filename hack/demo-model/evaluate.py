"""Measures the exported model through its ONNX files, and draws the contact sheet.

Prompts are chosen by rule: the names of all training pictures are sorted, and every k-th is taken, with its article.
Each is drawn with four seeds. A picture counts as right when the prompted emoji is among the five training pictures
nearest to it; the distance is the Euclidean one over all RGB values at the model's own size.
"""

import argparse
import functools
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import data
import export
import loop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
import golden  # noqa: E402

SHEET = Path(__file__).resolve().parents[2] / "docs/images/contact-sheet.png"
SEEDS = 4
COLUMNS = 6


def choose(items, count):
    """Every k-th item in the order of the names, at least `count` of them: (index, prompt)."""
    order = sorted(range(len(items)), key=lambda i: items[i].name)
    return [(i, data.article(items[i].name)) for i in order[:: max(1, len(order) // count)]]


@functools.cache
def load_model(folder):
    return golden.Model(folder)


def draw(prompt, arguments):
    """Pictures of one prompt, with SEEDS seeds from the first one on: uint8 (SEEDS, size, size, 3)."""
    model = load_model(arguments.folder)
    case = {"prompt": prompt, "seed": arguments.seed, "count": SEEDS, "steps": arguments.steps, "guidance": arguments.guidance}
    result = golden.generate(model, golden.complete(model, case))
    return np.stack([np.asarray(picture) for picture in result["pictures"]])


def rank(picture, training, wanted):
    """How many training pictures are nearer to `picture` than the wanted one."""
    distance = ((training - picture.astype(np.float32)) ** 2).sum(axis=(1, 2, 3))
    return int((distance < distance[wanted]).sum())


def contact_sheet(rows, size, path):
    """One cell a prompt: its name, and its pictures beside each other."""
    width, height = size * SEEDS + 12, size + 18
    lines = -(-len(rows) // COLUMNS)
    sheet = Image.new("RGB", (width * COLUMNS, height * lines), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (prompt, pictures) in enumerate(rows):
        x, y = k % COLUMNS * width, k // COLUMNS * height
        pen.text((x + 2, y + 2), prompt, fill="black")
        for j, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (x + j * size, y + 15))
    path.parent.mkdir(parents=True, exist_ok=True)
    palette = sheet.quantize(255, method=Image.Quantize.MEDIANCUT)
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=export.DEFAULT_FOLDER)
    parser.add_argument("--prompts", type=int, default=48, help="at least so many")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, default=SHEET)
    parser.add_argument("--no-report", action="store_true", help="only print; leave the model's evaluation.json")
    arguments = parser.parse_args()
    size = load_model(arguments.folder).size
    items, training = data.load(loop.work_folder() / "data", size)
    training = training.astype(np.float32)
    started, rows, ranks = time.time(), [], []
    chosen = choose(items, arguments.prompts)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        drawn = pool.imap(functools.partial(draw, arguments=arguments), [prompt for _, prompt in chosen])
        for (index, prompt), pictures in zip(chosen, drawn):
            rows.append((prompt, pictures))
            ranks.append([rank(picture, training, index) for picture in pictures])
            print(f"{prompt:40s} nearer pictures per seed: {ranks[-1]}", flush=True)
    contact_sheet(rows, size, arguments.sheet)
    flat = np.array(ranks).reshape(-1)
    report = {
        "prompts": len(rows),
        "seeds": SEEDS,
        "steps": arguments.steps,
        "guidance": arguments.guidance,
        "training_pictures": len(items),
        "distance": f"Euclidean, RGB, {size}x{size}",
        "among_5_nearest_percent": round(100 * float((flat < 5).mean()), 1),
        "nearest_percent": round(100 * float((flat < 1).mean()), 1),
        "seconds_per_picture": round((time.time() - started) / len(flat), 3),
    }
    print(json.dumps(report, indent=2))
    if not arguments.no_report:
        (arguments.folder / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
