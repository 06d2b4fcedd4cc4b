"""Draws pictures with optimum's pipeline, as `runner generate --json` does, and prints how long that took.

    python draw.py --model DIR --prompt TEXT --steps N --guidance-scale G --seed S --images N --threads N -o out.png
"""

import argparse
import json
import time

START = time.perf_counter()

import onnxruntime  # noqa: E402
import torch  # noqa: E402
from optimum.onnxruntime import ORTStableDiffusionPipeline  # noqa: E402


def with_whole_mask(forward):
    """Gives a text encoder that takes a mask one that hides nothing, as diffusers does without saying so."""
    return lambda input_ids, attention_mask=None, **more: forward(input_ids, attention_mask=torch.ones_like(input_ids), **more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance-scale", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--no-spinning", action="store_true", help="threads that wait leave the processor to others, as the runner's do")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()

    imported = time.perf_counter()
    torch.set_num_threads(arguments.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    if arguments.no_spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[arguments.device]
    pipe = ORTStableDiffusionPipeline.from_pretrained(arguments.model, export=False, provider=provider, session_options=options)
    pipe.set_progress_bar_config(disable=True)
    if "attention_mask" in pipe.text_encoder.input_names:
        pipe.text_encoder.forward = with_whole_mask(pipe.text_encoder.forward)

    loaded = time.perf_counter()
    for k in range(arguments.images):
        generator = torch.Generator("cpu").manual_seed(arguments.seed + k)
        picture = pipe(
            arguments.prompt, num_inference_steps=arguments.steps, guidance_scale=arguments.guidance_scale, generator=generator
        ).images[0]
    drawn = time.perf_counter()
    picture.save(arguments.output)
    print(json.dumps({
        "importSeconds": imported - START, "loadSeconds": loaded - imported, "drawSeconds": drawn - loaded,
        "versions": {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
    }))


if __name__ == "__main__":
    main()
