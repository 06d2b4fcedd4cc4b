"""The training loop both stages share: workers, a schedule over a time budget, averaging, checkpoints.

On a CPU every core gets a process of its own with one thread, and gradients are averaged once a step. That is
many times faster than one process with many threads on a busy machine, where each small operation would wait
for its slowest thread. On a GPU there is one process.
"""

import copy
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def work_folder():
    """Where data, checkpoints and logs live; a later run finds them there and goes on."""
    default = Path.home() / ".cache/atelier/demo-model"
    return Path(os.environ.get("ATELIER_DEMO_MODEL_WORK", default))


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def launch(stage, arguments, workers=0):
    """Runs stage(rank, world, arguments) in every worker; workers=0 means one a core, or one for a GPU."""
    # Tensors are allocated and freed every step: keep the memory instead of faulting it in again.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(16 << 30))
    os.environ.setdefault("MALLOC_TOP_PAD_", str(64 << 20))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
    if not workers:
        workers = 1 if torch.cuda.is_available() else min(os.cpu_count(), 8)
    mp.spawn(_worker, (stage, arguments, workers), nprocs=workers)


def _worker(rank, stage, arguments, world):
    if device().type == "cpu":
        torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", rank=rank, world_size=world)
    stage(rank, world, arguments)
    if world > 1:
        dist.destroy_process_group()


def autocast():
    """bfloat16 for the arithmetic, float32 for the weights."""
    return torch.autocast(device().type, dtype=torch.bfloat16)


class Trainer:
    """Optimizes `modules` (name -> module) for `minutes` of training time, over restarts."""

    def __init__(self, name, modules, minutes, rate, rank, world, decay=0.9995):
        self.path = work_folder() / f"{name}.pt"
        self.modules, self.rank, self.world = modules, rank, world
        self.budget, self.rate, self.decay = minutes * 60, rate, decay
        self.parameters = [p for m in modules.values() for p in m.parameters()]
        self.average = {k: copy.deepcopy(m).requires_grad_(False) for k, m in modules.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
        )
        self.elapsed, self.samples, self.steps = 0.0, 0, 0
        self._resume()
        self.saved, self.logged, self.tick = time.time(), time.time(), time.time()
        self.loss_sum, self.loss_count, self.logged_samples = 0.0, 0, self.samples

    def running(self):
        return self.elapsed < self.budget

    def step(self, loss, batch):
        """One update from this worker's loss over `batch` samples. All workers leave it with equal weights."""
        loss.backward()
        self._exchange()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self._schedule()
        if math.isfinite(float(norm)):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self.samples += batch * self.world
        self._follow()
        self._log(float(loss.detach()))
        if self.rank == 0 and (time.time() - self.saved > 180 or not self.running()):
            self.save()

    def save(self):
        """Writes the checkpoint beside its place, then moves it there: a reader sees the old or the new one."""
        state = {
            "modules": {k: m.state_dict() for k, m in self.modules.items()},
            "average": {k: m.state_dict() for k, m in self.average.items()},
            "optimizer": self.optimizer.state_dict(),
            "elapsed": self.elapsed, "samples": self.samples, "steps": self.steps,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)
        self.saved = time.time()

    def _resume(self):
        if not self.path.exists():
            return
        state = torch.load(self.path, map_location=device(), weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
            self.average[name].load_state_dict(state["average"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.elapsed, self.samples, self.steps = state["elapsed"], state["samples"], state["steps"]

    def _exchange(self):
        """Averages the gradients over the workers, and the clock with them, so that all agree on the schedule."""
        now = time.time()
        self.elapsed += now - self.tick
        self.tick = now
        if self.world == 1:
            return
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        clock = torch.tensor([self.elapsed])
        flat = torch.cat([p.grad.reshape(-1) for p in self.parameters] + [clock])
        dist.all_reduce(flat)
        flat /= self.world
        offset = 0
        for p in self.parameters:
            p.grad.copy_(flat[offset : offset + p.numel()].view(p.shape))
            offset += p.numel()
        self.elapsed = float(flat[-1])

    def _schedule(self):
        """Learning rate factor: a short warm-up by steps, then a cosine to zero over the time budget."""
        warm = min(1.0, (self.steps + 1) / 100)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self.elapsed / self.budget)))

    @torch.no_grad()
    def _follow(self):
        """Moves the running average of the weights, faster at the start. Only the first worker keeps it."""
        if self.rank:
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, module in self.modules.items():
            torch._foreach_lerp_(list(self.average[name].parameters()), list(module.parameters()), 1 - decay)

    def _log(self, loss):
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
        passed = time.time() - self.logged
        if self.rank or (passed < 20 and self.running()):
            return
        speed = (self.samples - self.logged_samples) / max(passed, 1e-6)
        print(
            f"{self.path.stem} {self.elapsed / 60:6.2f}/{self.budget / 60:.0f} min  step {self.steps}  "
            f"samples {self.samples}  {speed:.1f}/s  loss {self.loss_sum / self.loss_count:.4f}",
            flush=True,
        )
        self.logged, self.logged_samples = time.time(), self.samples
        self.loss_sum, self.loss_count = 0.0, 0
