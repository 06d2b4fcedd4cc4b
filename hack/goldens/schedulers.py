"""Writes what diffusers' schedulers compute, for the Go schedulers to be compared with.

One file a configuration, in test/testdata/goldens/scheduler-<class>/: the configuration and, for several numbers of
steps, the timesteps, the sigma of the first noise, and the sample after each step. In place of a network the
prediction is 0.5 * input + 0.25, which exercises every term.

    python schedulers.py
"""

import itertools
import json
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler

GOLDENS = Path(__file__).parents[2] / "test/testdata/goldens"
STEPS = [1, 2, 4, 7, 20, 50]
# Where rounding gives one timestep more than steps.
TRAILING_STEPS = [61, 103, 121, 122]
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def euler_configs():
    """Name and options of each configuration of EulerDiscreteScheduler."""
    for spacing, prediction in itertools.product(["linspace", "leading", "trailing"], ["epsilon", "v_prediction", "sample"]):
        offset = 1 if spacing == "leading" else 0
        options = {"timestep_spacing": spacing, "prediction_type": prediction, "steps_offset": offset}
        yield f"{spacing}-{prediction}", STABLE_DIFFUSION | options
    for name, options in {
        "karras": {"use_karras_sigmas": True},
        "karras-ends": {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 10.0},
        "exponential": {"use_exponential_sigmas": True},
        "log-linear": {"interpolation_type": "log_linear"},
        "ends-at-sigma-min": {"final_sigmas_type": "sigma_min"},
        "zero-snr": {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
        "karras-leading": {"use_karras_sigmas": True, "timestep_spacing": "leading", "steps_offset": 1},
    }.items():
        yield name, STABLE_DIFFUSION | options
    yield "defaults", {}
    yield "cosine", {"beta_schedule": "squaredcos_cap_v2"}
    yield "trained-betas", {"trained_betas": [0.01 + 0.0001 * i for i in range(100)], "num_train_timesteps": 100}


def run(scheduler, steps):
    """One run on four numbers: timesteps, first sigma, start, and the sample after each step (the last if many)."""
    scheduler.set_timesteps(steps)
    start = torch.randn(4, generator=torch.Generator().manual_seed(steps)) * scheduler.init_noise_sigma
    sample, samples = start, []
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(sample, t)
        sample = scheduler.step(0.5 * model_input + 0.25, t, sample).prev_sample
        samples.append(sample.tolist())
    return {
        "steps": steps,
        "timesteps": scheduler.timesteps.tolist(),
        "initNoiseSigma": float(scheduler.init_noise_sigma),
        "start": start.tolist(),
        "samples": samples if steps <= 7 else samples[-1:],
    }


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
    folder = GOLDENS / "scheduler-euler-discrete"
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in euler_configs():
        steps = STEPS + (TRAILING_STEPS if name == "trailing-epsilon" else [])
        runs = [rounded(run(EulerDiscreteScheduler(**options), n)) for n in steps]
        config = {"_class_name": "EulerDiscreteScheduler"} | options
        text = json.dumps({"config": config, "runs": runs}, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
