"""Exports a diffusers pipeline to ONNX with optimum, as `optimum-cli export onnx` does.

    python export.py PIPELINE OUTPUT [fp32|fp16]
"""

import json
import sys
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export


def main():
    pipeline, output, dtype = Path(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or ["fp32"])[0]
    name = json.loads((pipeline / "model_index.json").read_text())["_class_name"]
    task = "image-to-image" if "Img2Img" in name else "text-to-image"
    torch.set_num_threads(1)  # The same sums in the same order on every machine, where constants are folded.
    # optimum's own comparison with torch is left out: it measures float16 against a bound of 1e-5.
    main_export(str(pipeline), output, task=task, dtype=dtype, do_validation=False)


if __name__ == "__main__":
    main()
