"""First stage: the autoencoder between pictures (3x64x64, -1..1) and latents (4x16x16)."""

import argparse
import json

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import data
import loop

SIZE = 64
CHANNELS = (32, 64, 128)


def build(scaling_factor=1.0):
    stages = len(CHANNELS)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=scaling_factor,
        mid_block_add_attention=False,
    )


def pictures_tensor(pictures):
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w) in -1..1, channels last in memory."""
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def edges(picture):
    """Horizontal and vertical differences; losing them is what makes a reconstruction look soft."""
    return picture[..., :, 1:] - picture[..., :, :-1], picture[..., 1:, :] - picture[..., :-1, :]


def reconstruction_loss(result, target):
    """Absolute and squared error at full and half size, and the absolute error of the edges."""
    loss = F.l1_loss(result, target) + F.mse_loss(result, target)
    loss = loss + F.l1_loss(F.avg_pool2d(result, 2), F.avg_pool2d(target, 2))
    return loss + sum(F.l1_loss(a, b) for a, b in zip(edges(result), edges(target)))


def train(rank, world, arguments):
    torch.manual_seed(0)
    device = loop.device()
    _, pictures = data.load(loop.work_folder() / "data", SIZE)
    pictures = pictures_tensor(pictures).to(device)
    vae = build().to(device, memory_format=torch.channels_last)
    trainer = loop.Trainer("vae", {"vae": vae}, arguments.minutes, arguments.rate, rank, world, decay=0.998)
    torch.manual_seed(1000 * trainer.steps + rank)
    while trainer.running():
        batch = pictures[torch.randint(len(pictures), (arguments.batch,), device=device)]
        if torch.rand(()) < 0.5:
            batch = batch.flip(3)
        with loop.autocast():
            posterior = vae.encode(batch).latent_dist
            result = vae.decode(posterior.sample()).sample
        loss = reconstruction_loss(result.float(), batch) + arguments.kl * posterior.kl().float().mean() / 1024
        trainer.step(loss, len(batch))


def load():
    """The averaged autoencoder from its checkpoint."""
    state = torch.load(loop.work_folder() / "vae.pt", map_location="cpu", weights_only=True)
    vae = build()
    vae.load_state_dict(state["average"]["vae"])
    return vae.eval().requires_grad_(False)


def load_centred():
    """The autoencoder as `finish` left it: centred latents, and their scaling factor in its config."""
    state = torch.load(loop.work_folder() / "latents.pt", map_location="cpu", weights_only=True)
    vae = build(state["scaling_factor"])
    vae.load_state_dict(state["vae"])
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def encode(vae, pictures):
    """uint8 pictures -> float32 mean latents (n, 4, 16, 16), not yet scaled."""
    tensor = pictures_tensor(pictures)
    return torch.cat([vae.encode(part).latent_dist.mean for part in tensor.split(32)])


@torch.no_grad()
def centre(vae, latents):
    """Folds "each channel has mean 0 and the same deviation" into the 1x1 convolutions around the latents.

    A denoiser starts from noise of mean 0; latents whose mean is elsewhere (a white background puts it there)
    would come out tinted. Pictures pass through the autoencoder exactly as before.
    """
    mean = latents.mean(dim=(0, 2, 3))
    scale = latents.std(dim=(0, 2, 3)) / latents.std()
    inner, outer = vae.quant_conv, vae.post_quant_conv
    outer.bias += outer.weight[:, :, 0, 0] @ mean
    outer.weight *= scale.view(1, -1, 1, 1)
    inner.weight[:4] /= scale.view(-1, 1, 1, 1)
    inner.bias[:4] = (inner.bias[:4] - mean) / scale
    inner.bias[4:] -= 2 * scale.log()


@torch.no_grad()
def finish():
    """Centres the latents, encodes every picture, and stores what the second stage needs."""
    vae = load()
    items, pictures = data.load(loop.work_folder() / "data", SIZE)
    centre(vae, encode(vae, pictures))
    latents = encode(vae, pictures)
    factor = 1.0 / latents.std().item()
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(32)])
    error = (decoded.clamp(-1, 1) - pictures_tensor(pictures)).abs().mean().item() * 127.5
    state = {"latents": latents * factor, "scaling_factor": factor, "vae": vae.state_dict()}
    torch.save(state, loop.work_folder() / "latents.pt")
    facts = {"pictures": len(items), "scaling_factor": factor, "mean_absolute_error_of_255": error}
    (loop.work_folder() / "vae.json").write_text(json.dumps(facts, indent=2) + "\n")
    print("vae", json.dumps(facts))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--batch", type=int, default=6, help="pictures a step and worker")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--kl", type=float, default=1e-3, help="weight of the KL term, per latent value")
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    loop.launch(train, arguments, arguments.workers)
    finish()


if __name__ == "__main__":
    main()
