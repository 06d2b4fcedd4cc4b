"""Writes a model of the size of Stable Diffusion 1.5 with random weights, exported by optimum, to measure speed with.

4.3 GB of files in float32, which take about 9 GB of memory to make. Its tokenizer is the small one of the tests: the
vocabulary of the original is not needed to keep the networks busy.

    python sd15.py OUTPUT [fp32|fp16]
"""

import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from optimum.exporters.onnx import onnx_export_from_model
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENIZER = Path(__file__).resolve().parents[2] / "test/testdata/models/tiny/tokenizer"


def build():
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=542, eos_token_id=543, pad_token_id=543,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    return StableDiffusionPipeline(
        text_encoder=CLIPTextModel(text), tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768), vae=vae, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def main():
    output, dtype = Path(sys.argv[1]), (sys.argv[2:] or ["fp32"])[0]
    torch.manual_seed(1)
    pipe = build().to(torch.float16 if dtype == "fp16" else torch.float32)
    unfinished = output.with_name(output.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with torch.no_grad():
        onnx_export_from_model(pipe, unfinished, task="text-to-image", do_validation=False)
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


if __name__ == "__main__":
    main()
