"""Writes what diffusers' schedulers compute, for the Go schedulers to be compared with.

One file a configuration, in test/testdata/goldens/schedulers/<class>/: the configuration and, for several numbers of
steps, the timesteps, the sigma of the first noise, and the sample after each step. In place of a network the
prediction is 0.5 * input + 0.25, which exercises every term. Noise comes from a CPU generator with the seed SEED. A
run that begins in the middle draws the noise for its start first, as image-to-image does. A run that diffusers
refuses is marked so. To add a class, add its configurations to CLASSES.

    python schedulers.py [class ...]
"""

import itertools
import json
import sys
from pathlib import Path

import diffusers
import torch

GOLDENS = Path(__file__).parents[2] / "test/testdata/goldens/schedulers"
SEED = 7
STEPS = [1, 2, 4, 7, 20, 50]
# Where rounding gives one timestep more than steps.
TRAILING_STEPS = [61, 103, 121, 122]
# Number of steps, and how many of them are left out at the beginning.
BEGIN = [(7, 3), (20, 8)]
SHAPE = (1, 1, 2, 2)
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
NO_CLIP = {"clip_sample": False}


def spaced(common=None, predictions=("epsilon", "v_prediction", "sample")):
    """Every spacing with every type of prediction, and other ways to give the betas."""
    common = common or {}
    for spacing, prediction in itertools.product(["linspace", "leading", "trailing"], predictions):
        offset = 1 if spacing == "leading" else 0
        options = {"timestep_spacing": spacing, "prediction_type": prediction, "steps_offset": offset}
        yield f"{spacing}-{prediction}", STABLE_DIFFUSION | common | options
    yield "defaults", {}
    yield "cosine", {"beta_schedule": "squaredcos_cap_v2"}
    yield "trained-betas", {"trained_betas": [0.01 + 0.0001 * i for i in range(100)], "num_train_timesteps": 100}


def variants(**named):
    """Configurations of Stable Diffusion with other options."""
    return [(name.replace("_", "-"), STABLE_DIFFUSION | options) for name, options in named.items()]


SHAPED = variants(karras=KARRAS, exponential=EXPONENTIAL, karras_leading=KARRAS | {"timestep_spacing": "leading"})
ENDS = {"sigma_min": 0.05, "sigma_max": 10.0}

CLASSES = {
    "EulerDiscreteScheduler": [
        *spaced(), *SHAPED,
        *variants(
            karras_ends=KARRAS | ENDS, log_linear={"interpolation_type": "log_linear"},
            ends_at_sigma_min={"final_sigmas_type": "sigma_min"}, zero_snr=ZERO_SNR,
        ),
    ],
    "EulerAncestralDiscreteScheduler": [*spaced(), *variants(zero_snr=ZERO_SNR)],
    "HeunDiscreteScheduler": [*spaced(), *SHAPED, *variants(clip={"clip_sample": True})],
    "DDIMScheduler": [
        *spaced(NO_CLIP),
        *variants(clip={"clip_sample_range": 0.5}, last_alpha=NO_CLIP | {"set_alpha_to_one": False}, zero_snr=NO_CLIP | ZERO_SNR),
        ("eta", STABLE_DIFFUSION | NO_CLIP | {"steps_offset": 1}),
    ],
    "DDPMScheduler": [
        *spaced(NO_CLIP),
        *variants(
            clip={"clip_sample_range": 0.5}, zero_snr=NO_CLIP | ZERO_SNR,
            fixed_large=NO_CLIP | {"variance_type": "fixed_large"}, fixed_small_log=NO_CLIP | {"variance_type": "fixed_small_log"},
        ),
    ],
    "PNDMScheduler": [
        *spaced({"skip_prk_steps": True}),
        *variants(
            runge_kutta={"timestep_spacing": "leading", "steps_offset": 1}, runge_kutta_linspace={"timestep_spacing": "linspace"},
            runge_kutta_trailing_v={"timestep_spacing": "trailing", "prediction_type": "v_prediction"},
            alpha_one={"skip_prk_steps": True, "set_alpha_to_one": True},
        ),
    ],
    "LMSDiscreteScheduler": [*spaced(), *SHAPED],
    "LCMScheduler": [
        *spaced(), *variants(clip={"clip_sample": True}, zero_snr=ZERO_SNR, original_steps={"original_inference_steps": 30, "timestep_scaling": 4.0}),
    ],
    "FlowMatchEulerDiscreteScheduler": [
        ("defaults", {}), ("shift", {"shift": 3.0}), ("dynamic", {"use_dynamic_shifting": True}),
        ("karras", KARRAS | {"shift": 3.0}), ("exponential", EXPONENTIAL),
    ],
}


def run(scheduler, steps, begin=0, eta=0.0, mu=None):
    """One run on four numbers: timesteps, first sigma, start, and the sample after each step (the last if many)."""
    scheduler.set_timesteps(steps, **({} if mu is None else {"mu": mu}))
    timesteps = scheduler.timesteps[begin * scheduler.order :]
    init = float(getattr(scheduler, "init_noise_sigma", 1.0))
    generator = torch.Generator().manual_seed(SEED)
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(steps)) * (1 if begin else init)
    sample, samples = start, []
    if begin:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin * scheduler.order)
        add_noise = getattr(scheduler, "add_noise", None) or (lambda x, n, t: scheduler.scale_noise(x, t, n))
        sample = add_noise(start, torch.randn(SHAPE, generator=generator), timesteps[:1])
    arguments = scheduler.step.__code__.co_varnames[: scheduler.step.__code__.co_argcount]
    if hasattr(scheduler.step, "__wrapped__"):
        arguments = scheduler.step.__wrapped__.__code__.co_varnames
    extra = {k: v for k, v in {"generator": generator, "eta": eta}.items() if k in arguments}
    for t in timesteps:
        model_input = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(0.5 * model_input + 0.25, t, sample, **extra).prev_sample
        samples.append(sample.flatten().tolist())
    assert torch.isfinite(sample).all(), "a golden must be finite"
    return {
        "steps": steps, "begin": begin, "eta": eta, "mu": mu or 0.0, "seed": SEED,
        "timesteps": scheduler.timesteps.tolist(),
        "initNoiseSigma": init,
        "start": start.flatten().tolist(),
        "samples": samples if steps <= 7 else samples[-1:],
    }


def attempt(make, steps, **kwargs):
    """A run, or that diffusers refuses it."""
    try:
        return run(make(), steps, **kwargs)
    except (ValueError, NotImplementedError):
        return {"steps": steps, "refused": True}


def rounded(value):
    """Nine digits tell every float32 apart."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


def main():
    for name in sys.argv[1:] or CLASSES:
        folder = GOLDENS / name
        folder.mkdir(parents=True, exist_ok=True)
        for config_name, options in CLASSES[name]:
            make = lambda: getattr(diffusers, name)(**options)
            kwargs = {"eta": 0.6} if config_name == "eta" else {"mu": 0.9} if config_name == "dynamic" else {}
            steps = STEPS + (TRAILING_STEPS if config_name == "trailing-epsilon" else [])
            runs = [attempt(make, n, **kwargs) for n in steps]
            runs += [attempt(make, n, begin=b, **kwargs) for n, b in BEGIN]
            config = {"_class_name": name} | options
            text = json.dumps({"config": config, "runs": rounded(runs)}, separators=(",", ":"))
            (folder / f"{config_name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
