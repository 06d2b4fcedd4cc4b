"""Second stage: the text encoder and the denoising UNet, trained together on the latents of the first stage."""

import argparse
import random

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel

import data
import loop
import tokenizer as bpe
import vae as autoencoder

VOCABULARY = 2048
WIDTH = 192  # of the text encoder, and so of the cross-attention
BLOCKS = (64, 128, 160)
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


def build_text_encoder(vocabulary=VOCABULARY, width=WIDTH, layers=2, heads=6):
    end = vocabulary - 1
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=bpe.POSITIONS,
        hidden_act="quick_gelu",
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


def build_unet(blocks=BLOCKS, width=WIDTH, sample=16, heads=8, groups=32, channels=4):
    """Self- and cross-attention in all stages but the widest pictures (16x16), where it would cost most."""
    return UNet2DConditionModel(
        sample_size=sample,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=blocks,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (len(blocks) - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (len(blocks) - 1) + ("UpBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=width,
        attention_head_dim=heads,
        norm_num_groups=groups,
    )


def make_tokenizer(items):
    """Learns the vocabulary from every caption, and stores it in the work folder."""
    folder = loop.work_folder() / "tokenizer"
    texts = sorted({caption for item in items for caption in item.captions})
    bpe.save(folder, bpe.learn(texts, VOCABULARY))
    return bpe.load(folder)


def noise_weights(alphas):
    """Weights of the 1000 steps' errors: one over the root of the signal-to-noise ratio, capped. Shape (1000,).

    The plain error of the noise is smallest where noise is strongest, and that is where the text decides what the
    picture becomes. With these weights all parts of the range count about equally.
    """
    ratio = alphas / (1 - alphas)
    return ratio.rsqrt().clamp(max=12)


def draw_steps(count, device):
    """One time step from each of `count` equal parts of 0..999, so that every batch has seen the whole range."""
    places = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    return (places * 1000).long().clamp(max=999)


class Batches:
    """Draws latents with captions; every caption is tokenized once."""

    def __init__(self, items, latents, tokenizer, size, seed):
        self.items, self.latents, self.size = items, latents, size
        texts = sorted({""} | {caption for item in items for caption in item.captions})
        self.index = {text: i for i, text in enumerate(texts)}
        self.ids = bpe.encode(tokenizer, texts)
        self.random = random.Random(seed)
        self.order = []

    def draw(self):
        """Latents (b, 4, 16, 16) and token ids (b, 77). Each picture is shown once before any is shown again."""
        picked = []
        for _ in range(self.size):
            if not self.order:
                self.order = list(range(len(self.items)))
                self.random.shuffle(self.order)
            picked.append(self.order.pop())
        captions = [data.draw_caption(self.items[i], self.random) for i in picked]
        return self.latents[picked], self.ids[[self.index[c] for c in captions]]


def train(rank, world, arguments):
    torch.manual_seed(0)
    device = loop.device()
    items, _ = data.select(loop.work_folder() / "data")
    latents = torch.load(loop.work_folder() / "latents.pt", weights_only=True)["latents"]
    text = build_text_encoder().to(device)
    unet = build_unet().to(device, memory_format=torch.channels_last)
    if device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # the fused attention's backward pass is slow on a CPU
    trainer = loop.Trainer(
        "diffusion", {"text_encoder": text, "unet": unet}, arguments.minutes, arguments.rate, rank, world
    )
    seed = 1000 * trainer.steps + rank
    torch.manual_seed(seed)
    batches = Batches(items, latents, bpe.load(loop.work_folder() / "tokenizer"), arguments.batch, seed)
    scheduler = DDPMScheduler(**SCHEDULE)
    weights = noise_weights(scheduler.alphas_cumprod).to(device)
    while trainer.running():
        clean, ids = (part.to(device) for part in batches.draw())
        noise = torch.randn_like(clean)
        steps = draw_steps(len(clean), device)
        noisy = scheduler.add_noise(clean, noise, steps).contiguous(memory_format=torch.channels_last)
        with loop.autocast():
            context = text(ids).last_hidden_state
            predicted = unet(noisy, steps, context).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        trainer.step((error * weights[steps]).mean(), len(clean))


def load(weights="modules"):
    """The text encoder and UNet from their checkpoint, and the checkpoint itself.

    The last weights ("modules"), not the running average: the schedule ends at rate 0, and after a short training
    the average still remembers weights of minutes before (its error was measured about 5 % higher).
    """
    state = torch.load(loop.work_folder() / "diffusion.pt", map_location="cpu", weights_only=True)
    text, unet = build_text_encoder(), build_unet()
    text.load_state_dict(state[weights]["text_encoder"])
    unet.load_state_dict(state[weights]["unet"])
    return text.eval().requires_grad_(False), unet.eval().requires_grad_(False), state


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--batch", type=int, default=8, help="pictures a step and worker")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    if not (loop.work_folder() / "tokenizer/vocab.json").exists():
        make_tokenizer(data.select(loop.work_folder() / "data")[0])
    loop.launch(train, arguments, arguments.workers)


if __name__ == "__main__":
    main()
