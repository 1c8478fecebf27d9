"""What all ``coprop train SUBJECT`` share: the flags of the schedule, the run with its lines, what is told at the end."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from .terminal import say

if TYPE_CHECKING:
    from ..training.loop import Trained
    from ..training.schedule import Schedule
    from ..training.trainable import Trainable

SETTINGS = ("steps", "batch", "learning_rate", "final_rate", "save_every", "seed")


def add_source(group: Any) -> None:
    """Of the clips to train on."""
    group.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="synth:KIND:FIRST-LAST (seeds), objects:LIBRARY:SPLIT:KIND:FIRST-LAST, or the folder of a data set",
    )
    group.add_argument("--split", default="train", help="of a data set (train)")


def add_schedule(group: Any) -> None:
    from ..training.schedule import Schedule

    for name, kind, text in (
        ("steps", int, "updates in all"),
        ("batch", int, "sequences of a step"),
        ("learning_rate", float, "after the warm-up"),
        ("final_rate", float, "at the end"),
        ("save_every", int, "steps between saved states"),
        ("seed", int, "of everything that is drawn"),
    ):
        default = Schedule.__dataclass_fields__[name].default
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} ({default})")
    group.add_argument("--budget-s", type=float, metavar="S", help="stop and save after so many seconds")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, …")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags of :func:`add_schedule` say of the schedule."""
    return {name: getattr(args, name) for name in SETTINGS}


def run_training(
    args: argparse.Namespace, make: Callable[[], Trainable], *, schedule: Schedule | None = None
) -> tuple[Trained, Schedule]:
    """Train what is made, with a line now and then on stderr.

    Args:
        args: with the flags of :func:`add_schedule` and ``--out``.
        make: what is trained; called once the flags are known to be right.
        schedule: where it is not the flags' alone.

    Raises:
        CoPropError: a budget that is none; and what :func:`coprop_plugin.training.loop.train` raises.
    """
    from ..training.loop import train
    from ..training.schedule import Schedule

    def show(step: int, line: Mapping[str, float]) -> None:
        if step % max(1, min(20, args.steps // 20)) == 0:
            print(f"  step {step} of {args.steps}: loss {line['loss']:.4f}", file=sys.stderr, flush=True)

    budget_s: float | None = args.budget_s
    if budget_s is not None and not (math.isfinite(budget_s) and budget_s > 0):
        raise CoPropError(f"--budget-s is a positive number of seconds, got {budget_s}.")
    schedule = schedule or Schedule(**settings_of(args))
    return train(make(), args.out, schedule=schedule, budget_s=budget_s, on_step=show), schedule


def tell(outcome: Trained, schedule: Schedule, *, as_json: bool, judged: Mapping[str, Any] | None = None) -> None:
    """Where the weights lie, whether the same command goes on, and how good they are where that was asked."""
    told = {"steps": outcome.step, "finished": outcome.finished, "weights": str(Path(outcome.weights))} | dict(
        judged or {}
    )
    if as_json:
        print(json.dumps(told, indent=2))
        return
    rest = "" if outcome.finished else f" of {schedule.steps}; the same command goes on"
    say(f"{outcome.weights}: {outcome.step} steps{rest}")
    for name, value in (judged or {}).items():
        say(f"  {name}: {value}")
