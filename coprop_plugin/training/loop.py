"""The training loop: it knows nothing of what it trains (:class:`~coprop_plugin.training.trainable.Trainable`).

Resumed = uninterrupted, bit for bit on a CPU: whatever a step draws comes from the seed and the step's number, from
the sampler's place, or from torch's random state, and the last two are saved with the weights and the optimizer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CheckpointError, CoPropError
from ..files import check_new_folder, locked
from .sampler import Sampler
from .schedule import Schedule
from .state import TrainingFolder
from .trainable import Trainable


class TrainingError(CoPropError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class Trained:
    """Where a call of :func:`train` ended.

    Attributes:
        step: updates that were made in all.
        finished: whether these are all that were wanted.
        weights: the file with the trained weights as of the last saved state.
    """

    step: int
    finished: bool
    weights: Path


def train(
    trainable: Trainable,
    folder: str | Path,
    *,
    schedule: Schedule,
    budget_s: float | None = None,
    on_step: Callable[[int, Mapping[str, float]], None] = lambda step, line: None,
) -> Trained:
    """Train, or go on with the training that the folder holds.

    Args:
        trainable: what, on which data, with which loss.
        folder: of this training (:mod:`~coprop_plugin.training.state`).
        schedule: how long, how fast.
        budget_s: stop after the step that is in work by then, with the state saved; the same call goes on.
        on_step: called after every step with its number from 1 on and its log line.

    Raises:
        CheckpointError: the folder holds another training, or a damaged one.
        TrainingError: a loss or a gradient that is NaN or infinite.
        CoPropError: nothing to train on, or nothing to train; the folder is the working folder, or another run has it.
    """
    with locked(check_new_folder(folder)):
        return _train(trainable, folder, schedule, budget_s, on_step)


def _train(
    trainable: Trainable,
    folder: str | Path,
    schedule: Schedule,
    budget_s: float | None,
    on_step: Callable[[int, Mapping[str, float]], None],
) -> Trained:
    run = TrainingFolder(folder, {"schedule": asdict(schedule), **trainable.describe()})
    sampler = Sampler(trainable.num_items, batch=schedule.batch, seed=schedule.seed)
    optimizer = _optimizer(trainable)
    begun_s = time.monotonic()
    with torch.random.fork_rng(_gpus(trainable.module)):
        step = _restore(run, trainable.module, optimizer, sampler, seed=schedule.seed)
        run.start_log(step)
        while step < schedule.steps:
            line = _advance(trainable, optimizer, sampler, schedule, step, run)
            step += 1
            run.log(line)
            on_step(step, line)
            over = budget_s is not None and time.monotonic() - begun_s > budget_s
            if step % schedule.save_every == 0 or step == schedule.steps or over:
                _save(run, trainable, optimizer, sampler, step)
            if over:
                break
    return Trained(step, step == schedule.steps, run.weights)


def _advance(
    trainable: Trainable,
    optimizer: torch.optim.Optimizer,
    sampler: Sampler,
    schedule: Schedule,
    step: int,
    run: TrainingFolder,
) -> dict[str, Any]:
    """One update; returns its line of the log."""
    rate = schedule.rate(step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    batch = trainable.batch(sampler.next(), np.random.default_rng((schedule.seed, 1, step)))
    losses = trainable.losses(batch, progress=schedule.progress(step))
    _check(losses["loss"], "loss", step, batch, run)
    optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
    _check(norm, "gradient", step, batch, run)
    optimizer.step()
    values = {name: value.item() for name, value in losses.items()}
    return {"step": step + 1, **values, "gradient": norm.item(), "rate": rate}


def _check(value: Tensor, what: str, step: int, batch: Any, run: TrainingFolder) -> None:
    if not torch.isfinite(value):
        raise TrainingError(
            f"step {step + 1}: the {what} is {value.item()}, on {batch}; nothing was updated. The last saved state in "
            f"'{run.folder}' is whole. Train in a new folder with a lower learning rate or a longer warm-up; if that "
            "does not help, look at these items."
        )


def _optimizer(trainable: Trainable) -> torch.optim.AdamW:
    groups = [{"scale": 1.0, **group} for group in trainable.groups() if group["params"]]
    if not groups:
        raise CoPropError("nothing to train: no parameter is left free. Train more of the model.")
    return torch.optim.AdamW(groups, lr=0.0)


def _restore(
    run: TrainingFolder, module: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler, *, seed: int
) -> int:
    """Bring everything to where the folder's training stands; returns the number of updates made so far."""
    state = run.load()
    if state is None:
        torch.manual_seed(seed)
        return 0
    try:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        sampler.restore(state["sampler"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and state["random_gpu"]:
            torch.cuda.set_rng_state_all(state["random_gpu"])
        return int(state["step"])
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, CoPropError):
            raise
        raise CheckpointError(f"the state in '{run.folder}' does not fit what is trained: {error}") from error


def _save(
    run: TrainingFolder, trainable: Trainable, optimizer: torch.optim.Optimizer, sampler: Sampler, step: int
) -> None:
    gpus = _gpus(trainable.module)
    state = {
        "step": step,
        "module": trainable.module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "sampler": sampler.state(),
        "random": torch.get_rng_state(),
        "random_gpu": torch.cuda.get_rng_state_all() if gpus else [],
    }
    run.save(state, trainable.weights())


def _gpus(module: nn.Module) -> list[int]:
    return list(range(torch.cuda.device_count())) if next(module.parameters()).is_cuda else []
