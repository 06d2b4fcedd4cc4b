"""Models of each family and layout with small random weights, and what diffusers draws with them in torch.

    sd       Stable Diffusion 1
    sdxl     Stable Diffusion XL: two text encoders, pooled embeddings and time_ids
    v2       Stable Diffusion 2: v_prediction, and a text encoder that is padded with "!"
    lcm      a latent consistency model: the guidance scale is an input of the denoising network
    half     Stable Diffusion 1 in float16, the timestep too; the pictures are those of float32
    turbo    few steps from "trailing" timesteps without guidance, and what pictures can begin with
    scored   what some relatives of Stable Diffusion XL have: an aesthetic score in the place of the picture's size in
             time_ids, an empty negative prompt that is encoded (force_zeros_for_empty_prompt is false), and a VAE with a
             mean and a deviation for each channel of latents
    older    as sd, in the layout of older versions of optimum: the timestep is an int64 list of one
    legacy   as sd, in the layout of diffusers' own old exporter: ids of 32 bits, a list of timesteps, channels that
             are not fixed, no configurations beside the graphs

optimum itself exports them, in its own environment (hack/peer), all but sd with the results of the text encoder's
layers, which its configuration asks for. Only what exported the last two does not run with a torch of today: their
layouts are imitated here.

Written below test/testdata/goldens/layouts/NAME:

    model/                the model directory
    CASE/case.json        see DEFAULTS
    CASE/states.npy       text embeddings, [prompts, tokens, width], the negative prompt's first with guidance
    CASE/pooled.npy       pooled embeddings, [prompts, width] (sdxl, scored)
    CASE/latents.npy      latents after each step, [steps, channels, height, width], of the first picture
    CASE/picture.png      the picture; picture-1.png and so on where there are more
    CASE/preview.png      the last latents as a picture by the published linear approximation (cases with an image)

and layouts/source.png, which the cases with an image begin with.

Weights are rounded to float16 before anything is computed, so that the files can hold them in half the size.

    python layouts.py            all of them
    python layouts.py sdxl       one
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo-model"))

import diffusion  # noqa: E402
import export  # noqa: E402
import make_tiny  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import diffusers  # noqa: E402
from diffusers import (  # noqa: E402
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "test/testdata/models/tiny/tokenizer"
FOLDER = ROOT / "test/testdata/goldens/layouts"
PEER = ROOT / "hack/peer"
IMITATED = ("older", "legacy")
TWO = ("sdxl", "scored")  # With two text encoders.
# rescale is guidance_rescale; images with the seeds seed, seed + 1, ...; scheduler is a class, "" for the model's own;
# strength above 0 begins with source.png, in its own size where width and height are 0; tiled is enable_tiling of the VAE.
DEFAULTS = {
    "prompt": "a red apple", "negative": "", "clip_skip": 0, "guidance": 5.0, "rescale": 0.0, "eta": 0.0, "steps": 4,
    "seed": 3, "images": 1, "scheduler": "", "strength": 0.0, "tiled": False, "width": 16, "height": 24,
}
COMMON = {
    "guided": {"prompt": "a red apple", "negative": "blurry cat", "guidance": 5.0},
    "no-negative": {"prompt": "a green apple on a table", "negative": "", "guidance": 3.5},
    "unguided": {"prompt": "a photo of a cat", "negative": "", "guidance": 1.0},
}
SKIPPED = {"clip-skip": {"prompt": "a red apple", "negative": "blurry cat", "guidance": 5.0, "clip_skip": 2}}
OWN_SIZE = {"width": 0, "height": 0}
CASES = {
    "sd": {**COMMON, "image": {"strength": 0.6, "steps": 5, "negative": "blurry cat"}},
    "sdxl": {
        **COMMON, **SKIPPED,
        "image": {"strength": 0.6, "steps": 5, "negative": "blurry cat", "rescale": 0.7, **OWN_SIZE},
        "image-resized": {"strength": 1.0, "steps": 2, "guidance": 1.0},
    },
    "v2": {**COMMON, **SKIPPED, "rescaled": {"negative": "blurry cat", "guidance": 7.5, "rescale": 0.7}},
    "lcm": {**COMMON, **SKIPPED, "own": {"steps": 4, "guidance": 8.5, "scheduler": "LCMScheduler"}},
    "older": COMMON,
    "legacy": COMMON,
    "half": {**COMMON, **SKIPPED},
    "turbo": {
        "one-step": {"guidance": 0.0, "steps": 1},
        "four-steps": {"guidance": 0.0, "steps": 4},
        "image": {"guidance": 0.0, "steps": 2, "strength": 0.5, **OWN_SIZE},
        "image-batch": {"steps": 7, "strength": 0.8, "images": 3},
        "image-multistep": {"steps": 6, "strength": 0.7, "scheduler": "DPMSolverMultistepScheduler"},
        "image-singlestep": {"steps": 7, "strength": 0.6, "scheduler": "DPMSolverSinglestepScheduler"},
        "image-unipc": {"steps": 6, "strength": 0.5, "scheduler": "UniPCMultistepScheduler"},
        "image-ancestral": {"steps": 5, "strength": 0.6, "scheduler": "EulerAncestralDiscreteScheduler", "images": 2},
        "image-heun": {"steps": 5, "strength": 0.6, "scheduler": "HeunDiscreteScheduler"},
        "image-ddim": {"steps": 5, "strength": 0.6, "scheduler": "DDIMScheduler", "eta": 0.6},
        "image-pndm": {"steps": 7, "strength": 0.7, "scheduler": "PNDMScheduler"},
        "eta": {"steps": 4, "scheduler": "DDIMScheduler", "eta": 1.0},
        "image-tiled": {"guidance": 0.0, "steps": 3, "strength": 0.4, "width": 44, "height": 28, "tiled": True},
        "tiled": {"guidance": 0.0, "steps": 1, "width": 16, "height": 48, "tiled": True},
    },
    "scored": {
        "image": {"strength": 0.5, "steps": 4, "negative": "blurry cat"},
        "no-negative": {"strength": 0.5, "steps": 4},
        "unguided": {"strength": 0.5, "steps": 4, "guidance": 1.0},
    },
}
POOLED, WIDTHS, SIZE_WIDTH, SCALE_WIDTH = 20, (16, 24), 8, 32


class TextEncoder(torch.nn.Module):
    """A text encoder as the older exporters left it: without the results of its layers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        out = self.model(input_ids.long())
        return out.last_hidden_state, out.pooler_output


def build(name):
    """The torch modules of a model: text encoders, denoising network, VAE."""
    two = name in TWO
    common = {
        "vocab_size": 544, "intermediate_size": 64, "num_attention_heads": 2, "max_position_embeddings": 77,
        "bos_token_id": 542, "eos_token_id": 543, "pad_token_id": 543, "attn_implementation": "eager",
    }
    activation = "gelu" if name == "v2" else "quick_gelu"
    texts = [CLIPTextModel(CLIPTextConfig(hidden_size=WIDTHS[0], num_hidden_layers=3, hidden_act=activation, **common))]
    if two:
        config = CLIPTextConfig(hidden_size=WIDTHS[1], projection_dim=POOLED, num_hidden_layers=4, hidden_act="gelu", **common)
        texts.append(CLIPTextModelWithProjection(config))
    more = {}
    if two:
        more = {
            "addition_embed_type": "text_time", "addition_time_embed_dim": SIZE_WIDTH,
            "projection_class_embeddings_input_dim": POOLED + (5 if name == "scored" else 6) * SIZE_WIDTH,
        }
    if name == "lcm":
        more = {"time_cond_proj_dim": SCALE_WIDTH}
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=sum(WIDTHS) if two else WIDTHS[0], attention_head_dim=2, norm_num_groups=4, **more,
    )
    statistics = {"latents_mean": [-1.5, 1.25, 0.5, 2.0], "latents_std": [3.5, 2.0, 1.5, 0.75]} if name == "scored" else {}
    blocks = (8, 8, 8, 8) if name == "legacy" else (8, 8)  # The old exporter's pipeline takes a factor of 8 for granted.
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=blocks, layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * len(blocks), up_block_types=("UpDecoderBlock2D",) * len(blocks),
        norm_num_groups=4, sample_size=16, scaling_factor=0.13025 if two else 0.18215, mid_block_add_attention=False,
        **statistics,
    )
    generator = torch.Generator("cpu").manual_seed(11)
    for module in (*texts, unet, vae):
        make_tiny.liven(module, generator)
        module.half().float().eval().requires_grad_(False)
    return texts, unet, vae


def pad_with_mark(folder):
    """Pads prompts with "!", as Stable Diffusion 2 and the second encoder of XL have it."""
    for file in folder / "special_tokens_map.json", folder / "tokenizer_config.json":
        settings = json.loads(file.read_text())
        settings["pad_token"] = "!"
        file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def assemble(name, texts, unet, vae, folder):
    """diffusers' pipeline over the modules, and the tokenizers' folders."""
    settings = {**diffusion.SCHEDULE, "prediction_type": "v_prediction" if name == "v2" else "epsilon"}
    spacing = "trailing" if name == "turbo" else "leading"
    scheduler = EulerDiscreteScheduler(**settings, timestep_spacing=spacing, steps_offset=1)
    shutil.copytree(TOKENIZER, folder / "tokenizer")
    if name == "v2":
        pad_with_mark(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    if name not in TWO:
        # diffusers looks for the last normalization where transformers had it before version 5.
        object.__setattr__(texts[0], "text_model", getattr(texts[0], "text_model", texts[0]))
        return StableDiffusionPipeline(
            vae=vae, text_encoder=texts[0], tokenizer=tokenizer, unet=unet, scheduler=scheduler,
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )
    shutil.copytree(TOKENIZER, folder / "tokenizer_2")
    pad_with_mark(folder / "tokenizer_2")
    second = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=texts[0], text_encoder_2=texts[1], tokenizer=tokenizer, tokenizer_2=second,
        unet=unet, scheduler=scheduler, add_watermarker=False, force_zeros_for_empty_prompt=name != "scored",
    )


def from_image(pipe):
    """diffusers' pipeline from image to image over the parts of one from text."""
    if isinstance(pipe, StableDiffusionPipeline):
        return StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    five = pipe.unet.config.projection_class_embeddings_input_dim == POOLED + 5 * SIZE_WIDTH
    return StableDiffusionXLImg2ImgPipeline(
        **pipe.components, add_watermarker=False, requires_aesthetics_score=five,
        force_zeros_for_empty_prompt=pipe.config.force_zeros_for_empty_prompt,
    )


def source():
    """A picture with smooth and hard edges, whose sides are no multiples of anything."""
    x, y = np.arange(37), np.arange(29)[:, None]
    planes = [x * 7 + y * 0, 255 - y * 8 + x * 0, np.where((x - 18) ** 2 + (y - 14) ** 2 < 90, 230, 30)]
    return Image.fromarray(np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8))


def preview(latents, scaling):
    """The published approximations of colours by latents; see internal/pipeline/preview.go for where they are from."""
    if scaling == 0.13025:
        weights = torch.tensor([(60, -60, 25, -70), (60, -5, 15, -50), (60, 10, -5, -35)], dtype=torch.float32)
        colours = torch.einsum("lxy,rl->xyr", latents, weights) + torch.tensor([150.0, 140.0, 130.0])
    else:
        weights = torch.tensor([(0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473)])
        colours = (torch.einsum("lxy,lr->xyr", latents, weights) + 1) / 2 * 255
    return Image.fromarray(colours.clamp(0, 255).byte().numpy())


def arguments(pipe, case):
    """What diffusers is called with beside prompts and guidance, as far as the case has it."""
    given = {"clip_skip": case["clip_skip"]} if case["clip_skip"] else {}
    if case["rescale"] and not isinstance(pipe, StableDiffusionImg2ImgPipeline):
        given["guidance_rescale"] = case["rescale"]
    if not case["strength"]:
        return {**given, "width": case["width"], "height": case["height"]}
    image = source()
    if case["width"]:
        image = image.resize((case["width"], case["height"]), Image.Resampling.LANCZOS)
    return {**given, "image": image, "strength": case["strength"]}


def draw(pipe, case, folder):
    """Draws one case with diffusers and stores it."""
    case = {**DEFAULTS, **case}
    if len(pipe.vae.config.block_out_channels) == 4:
        case.update(width=64, height=96)
    guided = case["guidance"] > 1 and pipe.unet.config.time_cond_proj_dim is None
    skip = {"clip_skip": case["clip_skip"]} if case["clip_skip"] else {}
    encoded = pipe.encode_prompt(
        prompt=case["prompt"], negative_prompt=case["negative"] or None, device="cpu", num_images_per_prompt=1,
        do_classifier_free_guidance=guided, **skip,
    )
    if case["strength"]:
        pipe = from_image(pipe)
        pipe.set_progress_bar_config(disable=True)
    own = pipe.scheduler
    if case["scheduler"]:
        pipe.scheduler = getattr(diffusers, case["scheduler"]).from_config(own.config)
    pipe.vae.use_tiling = case["tiled"]
    trail = []

    def keep(_pipe, _step, _timestep, values):
        trail.append(values["latents"][0].clone())
        return values

    pictures = pipe(
        case["prompt"], negative_prompt=case["negative"] or None, guidance_scale=case["guidance"], eta=case["eta"],
        num_inference_steps=case["steps"], num_images_per_prompt=case["images"], callback_on_step_end=keep,
        generator=[torch.Generator("cpu").manual_seed(case["seed"] + k) for k in range(case["images"])], **arguments(pipe, case),
    ).images
    pipe.scheduler = own
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps(case, indent=2, sort_keys=True) + "\n")
    store = lambda pair: torch.cat(pair[::-1] if guided else pair[:1]).numpy().astype(np.float32)  # noqa: E731
    np.save(folder / "states.npy", store(list(encoded[:2])))
    if len(encoded) == 4:
        np.save(folder / "pooled.npy", store(list(encoded[2:])))
    np.save(folder / "latents.npy", torch.stack(trail).numpy().astype(np.float32))
    for k, picture in enumerate(pictures):
        picture.save(folder / (f"picture-{k}.png" if k else "picture.png"))
    if case["strength"]:
        preview(trail[-1], pipe.vae.config.scaling_factor).save(folder / "preview.png")


def imitate(name, texts, unet, vae, folder):
    """Writes the graphs of Stable Diffusion 1 in an older layout."""
    legacy = name == "legacy"
    ids = torch.full((2, 77), 543, dtype=torch.int32 if legacy else torch.int64)
    ids[:, 0], ids[0, 1] = 542, 5
    words = {0: "batch", 1: "sequence"}
    export.write(
        TextEncoder(texts[0]), folder / "text_encoder/model.onnx", {"input_ids": ids}, ["last_hidden_state", "pooler_output"],
        {"input_ids": words, "last_hidden_state": words, "pooler_output": {0: "batch"}},
    )
    picture = {0: "batch", 2: "height", 3: "width"} | ({1: "channels"} if legacy else {})
    inputs = {
        "sample": torch.randn(2, 4, 8, 8),
        "timestep": torch.tensor([5.0, 5.0]) if legacy else torch.tensor([500]),
        "encoder_hidden_states": torch.randn(2, 77, unet.config.cross_attention_dim),
    }
    axes = {"sample": picture, "out_sample": picture, "encoder_hidden_states": words} | ({"timestep": {0: "batch"}} if legacy else {})
    export.write(export.Denoiser(unet), folder / "unet/model.onnx", inputs, ["out_sample"], axes)
    inputs = {"latent_sample": torch.randn(2, 4, 8, 8)}
    export.write(export.Decoder(vae), folder / "vae_decoder/model.onnx", inputs, ["sample"], {"latent_sample": picture, "sample": picture})
    if not legacy:
        texts[0].config.save_pretrained(folder / "text_encoder")
        unet.save_config(folder / "unet")
        vae.save_config(folder / "vae_decoder")


def with_older_names(text):
    """The weights of a text encoder as transformers named them before version 5."""
    prefix = "" if hasattr(text, "text_projection") else "text_model."
    return {prefix + name: value.contiguous() for name, value in text.state_dict().items()}


@functools.cache
def peer_python():
    """The interpreter of the environment that has optimum."""
    return subprocess.run([ROOT / "hack/environment.sh", PEER], check=True, capture_output=True, text=True).stdout.strip()


def export_with_optimum(name, pipe, folder):
    """Has optimum export a pipeline that it loads from files, as it would anyone's; then halves the size of the graphs."""
    with tempfile.TemporaryDirectory() as torch_folder:
        torch_folder = Path(torch_folder)
        pipe.save_pretrained(torch_folder)
        for part in "text_encoder", "text_encoder_2":
            if getattr(pipe, part, None) is not None:
                save_file(with_older_names(getattr(pipe, part)), torch_folder / part / "model.safetensors", metadata={"format": "pt"})
        if name != "sd":
            config = torch_folder / "text_encoder/config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | {"output_hidden_states": True}))
        for tokenizer in folder.glob("tokenizer*"):  # transformers 5 writes them in one file, which older ones can't read.
            shutil.rmtree(torch_folder / tokenizer.name)
            shutil.copytree(tokenizer, torch_folder / tokenizer.name)
        dtype = "fp16" if name == "half" else "fp32"
        subprocess.run([peer_python(), "-W", "ignore", PEER / "export.py", torch_folder, folder, dtype], check=True)
    for graph in folder.rglob("*.onnx"):
        export.shrink(graph)


def make(name, folder):
    torch.manual_seed(1)
    texts, unet, vae = build(name)
    model = folder / "model"
    model.mkdir(parents=True)
    pipe = assemble(name, texts, unet, vae, model)
    pipe.set_progress_bar_config(disable=True)
    for title, case in CASES[name].items():
        draw(pipe, case, folder / title)
    if name in IMITATED:
        imitate(name, texts, unet, vae, model)
        pipe.scheduler.save_pretrained(model / "scheduler")
        pipe.save_config(model)
    else:
        export_with_optimum(name, from_image(pipe) if name == "scored" else pipe, model)
    for path in [*model.rglob("*config.json"), model / "model_index.json"]:
        export.forget_origin(path)


def main():
    torch.set_num_threads(1)
    source().save(FOLDER / "source.png")
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as temporary:
            make(name, Path(temporary) / name)
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            shutil.copytree(Path(temporary) / name, FOLDER / name)


if __name__ == "__main__":
    main()
