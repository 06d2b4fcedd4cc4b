"""A model of the demo model's layout with small random weights, for tests: quick to load, the same on every run.

It differs from the demo model where a test can profit: other channel numbers, a VAE that halves (16x16 pictures
from 4x8x8 latents), three text layers, and the scheduler's "leading" spacing, whose time steps are whole numbers.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL

import diffusion
import export
import tokenizer as bpe

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "test/testdata/models/tiny"
TEXTS = ("a red apple", "a green apple on a table", "a photo of a cat", "the red cat and the blue bird", "blurry")


def build():
    text = diffusion.build_text_encoder(vocabulary=544, width=16, layers=3, heads=2)
    unet = diffusion.build_unet(blocks=(8, 16), width=16, sample=8, heads=2, groups=4)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, sample_size=16, scaling_factor=0.18215, mid_block_add_attention=False,
    )
    return text, unet, vae


@torch.no_grad()
def liven(module, generator):
    """Gives every weight a random value, the biases too: fresh modules are nearly blind to their inputs."""
    for name, parameter in sorted(module.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(base + 0.1 * noise)
        else:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    arguments = parser.parse_args()
    generator = torch.Generator("cpu").manual_seed(7)
    parts = build()
    for part in parts:
        liven(part, generator)
        part.eval().requires_grad_(False)
    folder = arguments.folder / "tokenizer"
    vocabulary = bpe.save(folder, bpe.learn(TEXTS, 544))
    if len(vocabulary) != parts[0].config.vocab_size:
        raise ValueError(f"the texts give {len(vocabulary)} tokens, not {parts[0].config.vocab_size}")
    export.write_folder(arguments.folder, folder, *parts, spacing="leading")
    print(export.compare(arguments.folder, *parts), export.compare_pictures(arguments.folder, *parts))


if __name__ == "__main__":
    main()
