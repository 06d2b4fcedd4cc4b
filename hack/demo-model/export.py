"""Writes a model folder in the layout optimum's exporter gives a Stable Diffusion pipeline.

    model_index.json                 what the parts are
    tokenizer/                       vocab.json, merges.txt, ...
    scheduler/scheduler_config.json
    text_encoder/model.onnx          input_ids, attention_mask -> last_hidden_state, pooler_output, hidden_states.i
    unet/model.onnx                  sample, timestep (a float scalar), encoder_hidden_states -> out_sample
    vae_decoder/model.onnx           latent_sample -> sample
    vae_encoder/model.onnx           sample -> latent_parameters (mean and log variance)

Weights are stored as float16 and cast to float32 inside the graph, so a file is half the size and a CPU computes
in float32; ONNX Runtime does the casts once, while it loads.
"""

import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from onnx import TensorProto, helper, numpy_helper

import data
import diffusion
import loop
import tokenizer as bpe
import vae as autoencoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
import golden  # noqa: E402

OPSET = 17
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "test/testdata/models/fluent-emoji"


class TextEncoder(torch.nn.Module):
    """CLIPTextModel with its outputs as a flat tuple: last, pooled, then the embeddings and each layer's result."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        out = self.model(input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return (out.last_hidden_state, out.pooler_output, *out.hidden_states)


class Denoiser(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample, timestep, encoder_hidden_states):
        return self.model(sample, timestep, encoder_hidden_states, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, latent_sample):
        return self.model.decode(latent_sample, return_dict=False)[0]


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample):
        return self.model.encode(sample, return_dict=False)[0].parameters


def write(module, path, inputs, outputs, axes):
    """Traces one module and stores it with half-size weights. `inputs` maps names to example tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    shrink(path)


def shrink(path):
    """Makes a file small that a repository keeps: half-size weights, short names."""
    model = onnx.load(str(path))
    shorten(model)
    store_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def shorten(model):
    """Keeps one of equal constants and gives inner values short names; the exporter's paths fill half a small file.

    Inputs, outputs and weights keep their names.
    """
    kept, names, nodes = {}, {}, []
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        if node.op_type == "Constant":
            value = node.attribute[0].SerializeToString()
            if value in kept:
                names[node.output[0]] = kept[value]
                continue
            kept[value] = f"v{len(names)}"
        for i, name in enumerate(node.output):
            if name and name not in outputs:
                names[name] = f"v{len(names)}"
                node.output[i] = names[name]
        node.name, node.doc_string = "", ""
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]


def store_half(model, smallest=64):
    """Stores every float32 weight of `smallest` values or more as float16, followed by a Cast to float32."""
    casts = []
    for weight in list(model.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < smallest:
            continue
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{weight.name} does not fit in float16")
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + ".cast", to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def write_text_encoder(text, folder):
    layers = text.config.num_hidden_layers
    ids = torch.full((2, bpe.POSITIONS), text.config.eos_token_id)
    ids[:, 0], ids[0, 1] = text.config.bos_token_id, 5
    outputs = ["last_hidden_state", "pooler_output"] + [f"hidden_states.{i}" for i in range(layers + 1)]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ["input_ids", "attention_mask", *outputs]}
    axes["pooler_output"] = {0: "batch_size"}
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    write(TextEncoder(text), folder / "text_encoder/model.onnx", inputs, outputs, axes)
    text.config.save_pretrained(folder / "text_encoder")


def write_unet(unet, folder):
    config = unet.config
    inputs = {
        "sample": torch.randn(2, config.in_channels, config.sample_size, config.sample_size),
        "timestep": torch.tensor(500.5),
        "encoder_hidden_states": torch.randn(2, bpe.POSITIONS, config.cross_attention_dim),
    }
    axes = {
        "sample": {0: "batch_size", 2: "height", 3: "width"},
        "encoder_hidden_states": {0: "batch_size", 1: "sequence_length"},
        "out_sample": {0: "batch_size", 2: "height", 3: "width"},
    }
    write(Denoiser(unet), folder / "unet/model.onnx", inputs, ["out_sample"], axes)
    unet.save_config(folder / "unet")


def write_vae(vae, latent_size, folder):
    picture_axes = {0: "batch_size", 2: "sample_height", 3: "sample_width"}
    latent_axes = {0: "batch_size", 2: "latent_height", 3: "latent_width"}
    write(
        Decoder(vae),
        folder / "vae_decoder/model.onnx",
        {"latent_sample": torch.randn(2, vae.config.latent_channels, latent_size, latent_size)},
        ["sample"],
        {"latent_sample": latent_axes, "sample": picture_axes},
    )
    write(
        Encoder(vae),
        folder / "vae_encoder/model.onnx",
        {"sample": torch.randn(2, 3, vae.config.sample_size, vae.config.sample_size)},
        ["latent_parameters"],
        {"sample": picture_axes, "latent_parameters": latent_axes},
    )
    vae.save_config(folder / "vae_decoder")
    vae.save_config(folder / "vae_encoder")


def write_folder(folder, tokenizer_folder, text, unet, vae, spacing):
    """Writes all parts of one pipeline."""
    folder = Path(folder)
    scheduler = EulerDiscreteScheduler(
        **diffusion.SCHEDULE, timestep_spacing=spacing, steps_offset=1, interpolation_type="linear"
    )
    if Path(tokenizer_folder) != folder / "tokenizer":
        shutil.copytree(tokenizer_folder, folder / "tokenizer", dirs_exist_ok=True)
    write_text_encoder(text, folder)
    write_unet(unet, folder)
    write_vae(vae, unet.config.sample_size, folder)
    scheduler.save_pretrained(folder / "scheduler")
    pipeline(bpe.load(tokenizer_folder), text, unet, vae, scheduler).save_config(folder)
    for path in folder.rglob("*config.json"):
        forget_origin(path)
    forget_origin(folder / "model_index.json")


def pipeline(tokenizer, text, unet, vae, scheduler):
    """diffusers' own pipeline over the torch modules."""
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def forget_origin(path):
    """Takes the path a config was loaded from out of it, and the versions that only say who wrote it last."""
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def leave_latents(path):
    """Says for DDIM and DDPM, whose default is made for pixels, that samples are not to be clipped."""
    config = json.loads(path.read_text()) | {"clip_sample": False}
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def compare(folder, text, unet, vae):
    """Runs each part in ONNX Runtime and in torch on the same inputs; returns the largest differences."""
    def run(part, **inputs):
        session = onnxruntime.InferenceSession(str(Path(folder) / part / "model.onnx"))
        return session.run(None, {name: value.numpy() for name, value in inputs.items()})

    torch.manual_seed(1)
    size, channels = unet.config.sample_size, unet.config.in_channels
    ids = torch.randint(0, text.config.vocab_size - 2, (3, bpe.POSITIONS))
    ids[:, 9:] = text.config.eos_token_id
    mask = torch.ones_like(ids)
    holes = mask.clone()
    holes[:, 2:5] = 0
    x = torch.randn(3, channels, size, size)
    step = torch.tensor(413.25)
    z = torch.randn(3, channels, size, size)
    with torch.no_grad():
        states = text(ids).last_hidden_state
        masked = text(ids, attention_mask=holes).last_hidden_state
        noise = unet(x, step, states).sample
        picture = vae.decode(z).sample
    pairs = {
        "text_encoder": (run("text_encoder", input_ids=ids, attention_mask=mask)[0], states),
        "text_encoder masked": (run("text_encoder", input_ids=ids, attention_mask=holes)[0], masked),
        "unet": (run("unet", sample=x, timestep=step, encoder_hidden_states=states)[0], noise),
        "vae_decoder": (run("vae_decoder", latent_sample=z)[0], picture),
    }
    return {name: float(np.abs(a - b.numpy()).max()) for name, (a, b) in pairs.items()}


def compare_pictures(folder, text, unet, vae, prompt="a red apple", steps=20):
    """Draws one picture with diffusers' pipeline in torch and one through the ONNX files.

    Returns the largest and the mean difference of their 8-bit values.
    """
    model = golden.Model(Path(folder))
    case = golden.complete(model, {"prompt": prompt, "steps": steps})
    ours = np.asarray(golden.generate(model, case)["pictures"][0], dtype=np.int32)
    theirs = pipeline(model.tokenizer, text, unet, vae, model.scheduler)(
        prompt, num_inference_steps=steps, guidance_scale=case["guidance"], height=model.size, width=model.size,
        generator=torch.Generator("cpu").manual_seed(case["seed"]),
    ).images[0]
    difference = np.abs(ours - np.asarray(theirs, dtype=np.int32))
    return {"largest": int(difference.max()), "mean": round(float(difference.mean()), 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--spacing", default="linspace", choices=("leading", "linspace", "trailing"))
    arguments = parser.parse_args()
    text, unet, state = diffusion.load()
    vae = autoencoder.load_centred()
    write_folder(arguments.folder, loop.work_folder() / "tokenizer", text, unet, vae, arguments.spacing)
    leave_latents(arguments.folder / "scheduler" / "scheduler_config.json")
    items, _ = data.select(loop.work_folder() / "data")
    facts = {
        "pictures": len(items),
        "samples_seen": state["samples"],
        "steps": state["steps"],
        "training_minutes": round(state["elapsed"] / 60, 1),
        "autoencoder": json.loads((loop.work_folder() / "vae.json").read_text()),
        "largest_difference_to_torch": compare(arguments.folder, text, unet, vae),
        "picture_difference_to_torch_of_255": compare_pictures(arguments.folder, text, unet, vae),
    }
    (arguments.folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
