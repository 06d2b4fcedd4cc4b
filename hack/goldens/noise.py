"""Writes what torch's generator draws on the CPU, for the Go generator to be compared with.

test/testdata/goldens/noise.json holds, for seeds and sizes, the sha256 of the float32 numbers (little-endian) and the
first of them. Several draws from one generator follow each other, as a scheduler's noise follows the latents. The
bits are those of an x86-64 processor with AVX2 or AVX-512.

noise-plain.json holds numbers that torch draws without vector instructions, as it does on other processors, and over
many numbers how many differ and by how much at most.

    python noise.py
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[2] / "test/testdata/goldens/noise.json"
SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32 + 5, 1234567890123]
PLAIN = GOLDEN.with_name("noise-plain.json")
DRAWS = [[1, 1, 2], [3, 16, 5], [15], [16], [17], [31, 4], [1024, 1024], [1000], [16384], [100003]]


def draw(seed, sizes):
    """Numbers of several draws from one generator."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.cat([torch.randn(n, generator=generator, dtype=torch.float32) for n in sizes]).numpy()


def draw_plainly(seed, size):
    """Numbers of one draw by another process, in which torch takes its code for processors without vectors."""
    code = f"import sys, noise; sys.stdout.buffer.write(noise.draw({seed}, [{size}]).tobytes())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return np.frombuffer(done.stdout, dtype="<f4")


def write_plain(seed=0, size=1 << 22, kept=1024):
    """Compares both ways to draw; writes what is measured, and the numbers of a smaller draw."""
    plain, vectorised = draw_plainly(seed, size), draw(seed, [size])
    difference = np.abs(plain - vectorised)
    facts = {
        "seed": seed, "size": size, "differing": float((difference > 0).mean()), "most": float(difference.max()),
        "numbers": [float(f"{x:.9g}") for x in draw_plainly(seed, kept)],
    }  # fmt: skip
    PLAIN.write_text(json.dumps(facts) + "\n")


def main():
    rows = []
    for seed in SEEDS:
        for sizes in DRAWS:
            numbers = draw(seed, sizes)
            digest = hashlib.sha256(numbers.astype("<f4").tobytes()).hexdigest()
            rows.append({"seed": seed, "sizes": sizes, "first": [float(f"{x:.9g}") for x in numbers[:4]], "sha256": digest})
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    write_plain()


if __name__ == "__main__":
    main()
