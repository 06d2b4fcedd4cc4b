"""Writes the pictures and numbers that the Go runtime is compared with.

Each case runs the real thing: transformers' CLIPTokenizer, ONNX Runtime on the model's own files, diffusers'
EulerDiscreteScheduler, torch's random numbers. Latents, guidance and picture conversion follow diffusers'
StableDiffusionPipeline. One folder a case: case.json, picture.png (picture-1.png, ... for a batch), and for some
cases .npy files: noise, states (negative first), latents (steps+1, batch, ...), decoded.

    python golden.py            all models
    python golden.py tiny       one model
"""

import argparse
import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import onnxruntime
import torch
import transformers
from diffusers import EulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2] / "test/testdata"

DEFAULTS = {"negative": "", "steps": 20, "guidance": 7.5, "seed": 42, "count": 1, "width": 0, "height": 0, "arrays": False}

CASES = {
    "red-apple": {"prompt": "a red apple"},
    "negative": {"prompt": "a green apple", "negative": "red", "steps": 7, "seed": 7},
    "no-guidance": {"prompt": "a red apple", "guidance": 1.0, "steps": 7},
    "one-step": {"prompt": "a red apple", "steps": 1},
    "two-steps": {"prompt": "a cat", "steps": 2, "seed": 1234567890123, "arrays": True},
    "batch": {"prompt": "a red apple", "steps": 7, "count": 3, "seed": 42},
    "wide": {"prompt": "A Cat, and a  RED apple!", "steps": 3, "width": 1.5, "arrays": True},
    "empty": {"prompt": "", "steps": 3, "guidance": 2.0, "seed": 0},
}


class Model:
    """The parts of one model folder."""

    def __init__(self, folder):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums in the same order on every machine
        self.text_encoder, self.unet, self.vae_decoder = (
            onnxruntime.InferenceSession(str(folder / part / "model.onnx"), options, providers=["CPUExecutionProvider"])
            for part in ("text_encoder", "unet", "vae_decoder")
        )
        unet = json.loads((folder / "unet/config.json").read_text())
        vae = json.loads((folder / "vae_decoder/config.json").read_text())
        self.channels = unet["in_channels"]
        self.factor = 2 ** (len(vae["block_out_channels"]) - 1)
        self.size = unet["sample_size"] * self.factor
        self.scaling = vae["scaling_factor"]

    def tokenize(self, text):
        """The ids of one text, padded to the model's length; int64 (1, 77)."""
        return self.tokenizer(
            [text], padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True, return_tensors="np"
        ).input_ids.astype(np.int64)

    def encode(self, ids):
        """Token ids (1, 77) -> hidden states float32 (1, 77, width)."""
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return self.text_encoder.run(["last_hidden_state"], inputs)[0]


def initial_noise(model, case):
    """One generator a picture, seeded with seed + its number, so that no picture depends on the batch."""
    shape = (1, model.channels, case["height"] // model.factor, case["width"] // model.factor)
    draws = [
        torch.randn(shape, generator=torch.Generator("cpu").manual_seed(case["seed"] + k), dtype=torch.float32)
        for k in range(case["count"])
    ]
    return torch.cat(draws)


def predict(model, latents, timestep, states, guidance):
    """The noise in the latents, with classifier-free guidance where `states` holds [negative, prompt]."""
    sample = torch.cat([latents, latents]) if guidance > 1 else latents
    sample = model.scheduler.scale_model_input(sample, timestep)
    inputs = {
        "sample": sample.numpy(),
        "timestep": timestep.numpy().astype(np.float32),
        "encoder_hidden_states": states,
    }
    noise = torch.from_numpy(model.unet.run(["out_sample"], inputs)[0])
    if guidance > 1:
        negative, positive = noise.chunk(2)
        noise = negative + guidance * (positive - negative)
    return noise


def generate(model, case):
    """Runs one case; returns everything worth comparing."""
    ids, negative_ids = model.tokenize(case["prompt"]), model.tokenize(case["negative"])
    guided = case["guidance"] > 1
    states = [model.encode(negative_ids)] * case["count"] * guided + [model.encode(ids)] * case["count"]
    states = np.concatenate(states)
    noise = initial_noise(model, case)
    model.scheduler.set_timesteps(case["steps"])
    latents = noise * model.scheduler.init_noise_sigma
    trail = [latents.numpy()]
    for timestep in model.scheduler.timesteps:
        predicted = predict(model, latents, timestep, states, case["guidance"])
        latents = model.scheduler.step(predicted, timestep, latents).prev_sample
        trail.append(latents.numpy())
    decoded = model.vae_decoder.run(["sample"], {"latent_sample": (latents / model.scaling).numpy()})[0]
    return {
        "ids": ids[0].tolist(),
        "negative_ids": negative_ids[0].tolist(),
        "timesteps": model.scheduler.timesteps.tolist(),
        "sigmas": model.scheduler.sigmas.tolist(),
        "init_noise_sigma": float(model.scheduler.init_noise_sigma),
        "noise": noise.numpy(),
        "states": states,
        "latents": np.stack(trail),
        "decoded": decoded,
        "pictures": VaeImageProcessor().postprocess(torch.from_numpy(decoded), output_type="pil"),
    }


def complete(model, case):
    """The case with its defaults; width and height are given as multiples of the model's own size."""
    case = {**DEFAULTS, **case}
    for side in ("width", "height"):
        case[side] = int(model.size * (case[side] or 1))
    return case


def store(folder, case, result):
    """Writes one case's folder."""
    folder.mkdir(parents=True)
    for k, picture in enumerate(result["pictures"]):
        picture.save(folder / (f"picture-{k}.png" if k else "picture.png"), optimize=True)
    if case["arrays"]:
        for name in ("noise", "states", "latents", "decoded"):
            np.save(folder / f"{name}.npy", result[name])
    facts = {key: value for key, value in case.items() if key != "arrays"}
    for key in ("ids", "negative_ids", "timesteps", "sigmas", "init_noise_sigma"):
        facts[key] = result[key]
    facts["versions"] = {
        library.__name__: library.__version__ for library in (diffusers, transformers, torch, onnxruntime, np)
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
    (folder / "case.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny", "fluent-emoji"])
    arguments = parser.parse_args()
    for name in arguments.models:
        model = Model(ROOT / "models" / name)
        shutil.rmtree(ROOT / "goldens" / name, ignore_errors=True)
        for case_name, case in CASES.items():
            case = complete(model, case)
            result = generate(model, case)
            store(ROOT / "goldens" / name / case_name, case, result)
            spread = float(np.std(result["decoded"]))
            print(f"{name}/{case_name}: {len(result['timesteps'])} steps, decoded deviation {spread:.3f}")


if __name__ == "__main__":
    main()
