"""A small thing to train: a few lines, with dropout, so that every kind of state matters. Run as a script it trains."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coprop_plugin.training.loop import train
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.state import STATE

SCHEDULE = Schedule(steps=12, batch=3, learning_rate=0.05, final_rate=0.01, save_every=5)


class Toy:
    """Learns the sign of a sum. Satisfies ``Trainable``."""

    def __init__(self, num_items: int = 10, *, broken_from: int | None = None, frozen: bool = False) -> None:
        with torch.random.fork_rng([]):
            torch.manual_seed(3)
            self.module: nn.Module = nn.Sequential(
                nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
            )
        self.num_items, self._broken_from, self._calls = num_items, broken_from, 0
        self.module.requires_grad_(not frozen)
        self.seen: list[list[int]] = []

    def groups(self) -> list[dict[str, Any]]:
        free = [p for p in self.module.parameters() if p.requires_grad]
        return [{"params": free[:2], "scale": 0.1, "weight_decay": 0.0}, {"params": free[2:], "weight_decay": 0.1}]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Any:
        self.seen.append(list(items))
        x = np.stack([np.random.default_rng(item).standard_normal(4) for item in items])
        return torch.from_numpy(x + 0.1 * rng.standard_normal(x.shape)).float()

    def losses(self, batch: Tensor, *, progress: float) -> Mapping[str, Tensor]:
        self._calls += 1
        wanted = (batch.sum(dim=1, keepdim=True) > 0).float()
        loss = nn.functional.binary_cross_entropy_with_logits(self.module(batch), wanted)
        if self._broken_from is not None and self._calls > self._broken_from:
            loss = loss * torch.tensor(float("nan"))
        return {"loss": loss, "progress": torch.tensor(progress)}

    def weights(self) -> Mapping[str, Tensor]:
        return {name: value for name, value in self.module.state_dict().items() if "num_batches" not in name}

    def describe(self) -> Mapping[str, Any]:
        return {"trains": "toy"}


class Killed(BaseException):
    """Stands for whatever ends a process between two steps."""


def stop_after(last: int) -> Callable[[int, Mapping[str, float]], None]:
    def on_step(step: int, line: Mapping[str, float]) -> None:
        if step == last:
            raise Killed

    return on_step


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def contents(folder: Path) -> dict[str, object]:
    """Every file's bytes; of the state what is in it, as pickle writes equal things in more than one way."""
    found: dict[str, object] = dict(files(folder))
    return {**found, STATE: told(torch.load(folder / STATE, weights_only=True))}


def told(value: object) -> object:
    """A state with the bytes of its tensors."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: told(inner) for key, inner in value.items()}
    return [told(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":  # python training_toys.py FOLDER KILL_AT: prints every step, and waits there to be killed

    def show(step: int, line: Mapping[str, float]) -> None:
        print(step, flush=True)
        if step == int(sys.argv[2]):
            sys.stdin.read()

    train(Toy(), sys.argv[1], schedule=SCHEDULE, on_step=show)
