"""Writes what diffusers' schedulers compute, for the Go schedulers to be compared with.

One file a class, test/testdata/goldens/schedulers/<class>.json: a list of configurations with the runs of each. In
place of a network the prediction is 0.5 * input + 0.25, which exercises every term. A run takes all its numbers from
one CPU generator seeded with the number of steps: the start first, then, where the run begins in the middle as
image-to-image does, the noise for that, then what the steps draw. A run has the timesteps and the sample after each
step, or after the last where there are many. What diffusers refuses, and what it has no finite numbers for, is
recorded as refused. To add a class, add its configurations to CLASSES.

    python schedulers.py [class ...]
"""

import inspect
import itertools
import json
import logging
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch

GOLDENS = Path(__file__).parents[2] / "test/testdata/goldens/schedulers"
STEPS = [1, 2, 4, 7, 20, 50]
# Where rounding gives one timestep more than steps.
TRAILING_STEPS = [61, 103, 121, 122]
# Number of steps, and how many of them are left out at the beginning.
BEGIN = [(7, 3), (20, 5)]
# Samples after every step are kept up to this many steps.
WHOLE_TRAILS = 4
SHAPE = (1, 1, 2, 2)

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
TRAILING = {"timestep_spacing": "trailing"}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
ENDS = {"sigma_min": 0.05, "sigma_max": 10.0}
SIGMA_MIN = {"final_sigmas_type": "sigma_min"}
CLIP = {"clip_sample": True, "clip_sample_range": 0.5}
NO_CLIP = {"clip_sample": False}
THRESHOLD = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 1.5}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
TRAINED_BETAS = {"trained_betas": [round(0.01 + 0.0001 * i, 4) for i in range(100)], "num_train_timesteps": 100}
PREDICTIONS = ["epsilon", "v_prediction", "sample"]

# Configurations as they were published with models, to be used with every class.
PUBLISHED = [
    {  # Stable Diffusion 1.5
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **STABLE_DIFFUSION, "num_train_timesteps": 1000,
        "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False,
    },
    {  # Stable Diffusion 2.1
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", **STABLE_DIFFUSION, "num_train_timesteps": 1000,
        "clip_sample": False, "prediction_type": "v_prediction", "set_alpha_to_one": False, "skip_prk_steps": True,
        "steps_offset": 1, "trained_betas": None,
    },
    {  # Stable Diffusion XL
        "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", **STABLE_DIFFUSION,
        "num_train_timesteps": 1000, "clip_sample": False, "interpolation_type": "linear", "prediction_type": "epsilon",
        "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
        "timestep_spacing": "leading", "trained_betas": None, "use_karras_sigmas": False,
    },
    {  # What DDPMScheduler, which models are trained with, saves of itself
        "_class_name": "DDPMScheduler", "_diffusers_version": "0.42.1", **STABLE_DIFFUSION, "num_train_timesteps": 1000,
        "clip_sample": False, "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995, "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "steps_offset": 1, "thresholding": False,
        "timestep_spacing": "leading", "trained_betas": None, "variance_type": "fixed_small",
    },
    {  # SD-Turbo
        "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0.dev0", **STABLE_DIFFUSION,
        "num_train_timesteps": 1000, "clip_sample": False, "interpolation_type": "linear", "prediction_type": "epsilon",
        "set_alpha_to_one": False, "sigma_max": None, "sigma_min": None, "skip_prk_steps": True, "steps_offset": 1,
        "timestep_spacing": "trailing", "timestep_type": "discrete", "trained_betas": None, "use_karras_sigmas": False,
    },
]


def stable_diffusion(*variants):
    """Configurations of Stable Diffusion with other options."""
    return [STABLE_DIFFUSION | options for options in variants]


def spaced(common=None):
    """Every spacing with every type of prediction, and other ways to give the betas."""
    for spacing, prediction in itertools.product([{"timestep_spacing": "linspace"}, LEADING, TRAILING], PREDICTIONS):
        yield STABLE_DIFFUSION | (common or {}) | spacing | {"prediction_type": prediction}
    yield common or {}
    yield COSINE | (common or {})
    yield TRAINED_BETAS | (common or {})


def dpm(algorithms):
    """Every formula of the DPM solvers."""
    ends = ["zero", "sigma_min"]
    for order, algorithm, solver, final in itertools.product([1, 2, 3], algorithms, ["midpoint", "heun"], ends):
        options = {"solver_order": order, "algorithm_type": algorithm, "solver_type": solver, "final_sigmas_type": final}
        yield STABLE_DIFFUSION | options


def unipc():
    """Every formula of UniPC."""
    for order, solver in itertools.product([1, 2, 3], ["bh1", "bh2"]):
        options = STABLE_DIFFUSION | {"solver_order": order, "solver_type": solver}
        yield options
        yield options | SIGMA_MIN | {"use_karras_sigmas": order == 3}
        for prediction in PREDICTIONS:
            yield options | SIGMA_MIN | {"predict_x0": False, "prediction_type": prediction}


# LMS has no exponential sigmas with trailing spacing here: its last step extrapolates so far that the last bit of
# torch's square root, which depends on the processor, shows as 5e-5 of the sample.
SHAPED = stable_diffusion(KARRAS, EXPONENTIAL, KARRAS | LEADING, KARRAS | TRAILING)
DPM_VARIANTS = stable_diffusion(
    KARRAS, EXPONENTIAL, SIGMA_MIN, KARRAS | SIGMA_MIN, {"lower_order_final": True},
    {"lower_order_final": False}, {"lower_order_final": False} | SIGMA_MIN,
    {"lower_order_final": True, "solver_order": 3}, {"lambda_min_clipped": -3.1}, COSINE | {"lambda_min_clipped": -5.1},
    COSINE | KARRAS, THRESHOLD, THRESHOLD | {"algorithm_type": "dpmsolver"} | SIGMA_MIN,
)

# Configurations, or pairs of one and what its runs ask for beside it.
CLASSES = {
    "EulerDiscreteScheduler": [
        *spaced(), *SHAPED,
        *stable_diffusion(KARRAS | ENDS, {"interpolation_type": "log_linear"}, SIGMA_MIN, KARRAS | SIGMA_MIN, ZERO_SNR),
    ],
    "EulerAncestralDiscreteScheduler": [*spaced(), *stable_diffusion(ZERO_SNR)],
    "HeunDiscreteScheduler": [*spaced(), *SHAPED, *stable_diffusion(CLIP), {"beta_schedule": "exp"}],
    "DDIMScheduler": [
        {}, *spaced(NO_CLIP),
        *stable_diffusion(
            CLIP, THRESHOLD, NO_CLIP | {"set_alpha_to_one": False}, NO_CLIP | ZERO_SNR,
            NO_CLIP | ZERO_SNR | {"prediction_type": "epsilon"}, NO_CLIP | ZERO_SNR | {"prediction_type": "sample"},
        ),
        *[(STABLE_DIFFUSION | NO_CLIP | options, {"eta": eta}) for options in (LEADING, ZERO_SNR) for eta in (0.6, 1.0)],
    ],
    "DDPMScheduler": [
        {}, *spaced(NO_CLIP),
        *stable_diffusion(CLIP, THRESHOLD, NO_CLIP | ZERO_SNR, NO_CLIP | ZERO_SNR | {"prediction_type": "epsilon"}),
        *[STABLE_DIFFUSION | NO_CLIP | {"variance_type": f"fixed_{kind}"} for kind in ("large", "small_log", "large_log")],
        *[STABLE_DIFFUSION | NO_CLIP | {"variance_type": kind} for kind in ("learned", "learned_range")],
        {"beta_schedule": "sigmoid"}, {"beta_schedule": "laplace"},
    ],
    "PNDMScheduler": [
        *spaced(), *spaced({"skip_prk_steps": True}),
        *stable_diffusion({"skip_prk_steps": True, "set_alpha_to_one": True}),
    ],
    "LMSDiscreteScheduler": [*spaced(), *SHAPED],
    "LCMScheduler": [
        *spaced(),
        *stable_diffusion(
            CLIP, THRESHOLD, ZERO_SNR, ZERO_SNR | {"prediction_type": "epsilon"},
            {"original_inference_steps": 30, "timestep_scaling": 4.0}, {"original_inference_steps": 1001},
        ),
    ],
    "DPMSolverMultistepScheduler": [
        *spaced(), *DPM_VARIANTS, *dpm(["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"]),
        *stable_diffusion(
            {"use_lu_lambdas": True}, COSINE | {"use_lu_lambdas": True}, {"euler_at_final": True} | SIGMA_MIN, ZERO_SNR,
            COSINE | TRAILING | {"lambda_min_clipped": -5.1}, COSINE | LEADING | {"lambda_min_clipped": -5.1},
            KARRAS | {"algorithm_type": "sde-dpmsolver++"}, THRESHOLD | {"algorithm_type": "sde-dpmsolver++"},
        ),
    ],
    "DPMSolverSinglestepScheduler": [
        {}, *stable_diffusion(*[{"prediction_type": prediction} for prediction in PREDICTIONS]), *DPM_VARIANTS,
        *dpm(["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"]),
    ],
    "UniPCMultistepScheduler": [
        *spaced(), *unipc(), *SHAPED,
        *stable_diffusion(
            KARRAS | ENDS, EXPONENTIAL | ENDS, KARRAS | ENDS | SIGMA_MIN, SIGMA_MIN, KARRAS | SIGMA_MIN,
            EXPONENTIAL | SIGMA_MIN, COSINE, ZERO_SNR,
            {"lower_order_final": False} | SIGMA_MIN, {"lower_order_final": False}, {"predict_x0": False},
            {"disable_corrector": [0, 2]}, THRESHOLD,
        ),
    ],
    "FlowMatchEulerDiscreteScheduler": [
        {}, {"shift": 3.0}, {"shift": 3.0} | KARRAS, {"shift": 3.0} | EXPONENTIAL, {"shift": 3.0, "shift_terminal": 0.1},
        {"shift": 3.0, "invert_sigmas": True}, {"shift": 3.0, "stochastic_sampling": True}, {"num_train_timesteps": 500},
        ({"use_dynamic_shifting": True}, {"mu": 0.9}),
        ({"use_dynamic_shifting": True, "shift": 3.0, "shift_terminal": 0.02}, {"mu": 1.15}),
        ({"use_dynamic_shifting": True, "time_shift_type": "linear"} | KARRAS, {"mu": 2.0}),
    ],
}


def run(scheduler, steps, begin=0, eta=0.0, mu=None):
    """One run on four numbers."""
    scheduler.set_timesteps(steps, **({} if mu is None else {"mu": mu}))
    begin_index = begin * scheduler.order
    timesteps = scheduler.timesteps[begin_index:]
    if len(timesteps) == 0:
        raise ValueError("no timestep is left")
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin_index)
    generator = torch.Generator().manual_seed(steps)
    init = float(getattr(scheduler, "init_noise_sigma", 1.0))
    sample = torch.randn(SHAPE, generator=generator)
    if begin:
        noise = torch.randn(SHAPE, generator=generator)
        if hasattr(scheduler, "add_noise"):
            sample = scheduler.add_noise(sample, noise, timesteps[:1])
        else:
            sample = scheduler.scale_noise(sample, timesteps[:1], noise)
    else:
        sample = sample * init
    parameters = inspect.signature(scheduler.step).parameters
    extra = {name: value for name, value in {"generator": generator, "eta": eta}.items() if name in parameters}
    samples = []
    for t in timesteps:
        scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(0.5 * scaled + 0.25, t, sample, **extra).prev_sample
        samples.append(sample.flatten().tolist())
    if not np.isfinite(samples).all():
        raise ValueError("the samples are not finite")
    return {
        "timesteps": scheduler.timesteps.tolist(),
        "initNoiseSigma": init,
        "samples": samples if steps <= WHOLE_TRAILS else samples[-1:],
    }


def attempt(make, steps, begin=0, **asked):
    """A run, or why there is none. Some of what diffusers refuses it does not check, and fails at."""
    facts = {"steps": steps} | ({"begin": begin} if begin else {}) | asked
    try:
        return facts | run(make(), steps, begin, **asked)
    except (ValueError, NotImplementedError, IndexError, TypeError, RuntimeError, UnboundLocalError) as error:
        return facts | {"refused": str(error).partition("\n")[0]}


def configuration(name, case):
    """One configuration with its runs."""
    options, asked = case if isinstance(case, tuple) else (case, {})
    make = lambda: getattr(diffusers, name).from_config({"_class_name": name} | options)
    trailing = TRAILING_STEPS if options.get("timestep_spacing") == "trailing" else []
    runs = [attempt(make, steps, **asked) for steps in STEPS + trailing]
    runs += [attempt(make, steps, begin, **asked) for steps, begin in BEGIN]
    if all("refused" in one for one in runs):
        return {"options": options, "refused": runs[-1]["refused"], "runs": []}
    return {"options": options, "runs": runs}


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
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for name in sys.argv[1:] or CLASSES:
        cases = [*CLASSES[name], *PUBLISHED]
        lines = [json.dumps(rounded(configuration(name, case)), separators=(",", ":")) for case in cases]
        (GOLDENS / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
