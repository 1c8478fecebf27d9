"""Small benchmarks with saved predictions, runs over them, and their files as bytes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.write import Simulation, write_dataset
from coprop_plugin.rescore import RunPlan, Summary, barriers, make_plan, rescore

VIDEOS = 4


def write_benchmark(root: Path, *, kind: str = "ms3", videos: int = VIDEOS, side: int = 48) -> Path:
    """A data set with hard masks of two simulated base models, and probabilities like the second's (``soft``)."""
    simulations = [Simulation("lag", 1), Simulation("flicker", 2)]
    write_dataset(root, kind=kind, videos=videos, seed=3, splits=("test",), size=(side, side), simulations=simulations)
    if kind == "ms3":
        dataset = open_dataset(root)
        soft = root / "predictions/soft"
        soft.mkdir()
        for i, video in enumerate(dataset.videos("test")):
            masks = read_prediction(root / "predictions/flicker-2" / video.video_id)
            noise = np.random.default_rng(i).normal(0, 0.1, (5, side, side))
            foreground = np.stack([masks.label_map(t) for t in range(5)])
            np.save(soft / f"{video.video_id}.npy", np.clip(0.15 + 0.7 * foreground + noise, 0, 1).astype(np.float32))
    return root


def plan_of(root: Path, *methods: str, **options: object) -> RunPlan:
    """A plan over folders of ``predictions/``."""
    return make_plan([root / "predictions" / name for name in methods or ("lag-1", "flicker-2")], root, **options)  # type: ignore[arg-type]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a run but the log and the lock, hidden ones included."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: content for name, content in files.items() if name not in ("run.log", ".lock")}


def quick(plan: RunPlan, out: Path, **options: object) -> Summary:
    """A run with a short bootstrap and no pages unless asked for."""
    return rescore(plan, out, **{"draws": 50, "pages": "none", **options})  # type: ignore[arg-type]


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def killed_at(work: Callable[[], object], *, hit: int) -> bool:
    """Run in a forked process that is killed at its ``hit``-th barrier (from 0); whether it got there."""
    child = os.fork()
    if not child:
        try:
            reached = iter(range(hit + 1))
            barriers.reached = lambda name: None if next(reached) < hit else os.kill(os.getpid(), signal.SIGKILL)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def barriers_of(work: Callable[[], object], monkeypatch) -> list[str]:
    """The names of the barriers that some work passes, in order."""
    passed: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(barriers, "reached", passed.append)
        work()
    return passed
