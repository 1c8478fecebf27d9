"""What ``gpu_bench.py`` measures, a function a stage; torch, numpy and the package are all that it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aot_cases import Report, published_network, replay_file
from aot_inputs import Size, clip_of, drift, probabilities, stand_in_weights, two_squares
from torch import Tensor

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.engine import Engine
from coprop_plugin.propagators.aot.lockstep import LockStep
from coprop_plugin.propagators.aot.memory import MemoryRule
from coprop_plugin.propagators.aot.network import AOTNetwork, Features
from coprop_plugin.propagators.aot.preprocess import most_likely, normalised
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.aot.runtime import Precision, inference, prepare
from coprop_plugin.propagators.base import PropagationTask


def parity(reference: Path, *, device: str) -> dict[str, Any]:
    """Largest relative difference and share of equal labels of every case file in a folder."""
    rows = {}
    for file in sorted((reference / "cases").glob("*.npz")):
        layout = max((m for m in MODELS if file.stem.startswith(m)), key=len)
        report = Report()
        with torch.inference_mode():
            network = published_network(reference, layout, file.name, device=device)
            replay_file(network, file, report, device=device)
        rows[file.name] = {
            "largest_relative_difference": max(report.differences.values()),
            "labels_equal": min(report.equal.values(), default=None),
        }
    return rows


def resident_rate(
    model: str, size: Size, *, segments: int, length: int, precision: Precision, compiled: bool, device: str
) -> dict[str, Any]:
    """Frames a second from uint8 frames at network size to label maps, both on the device; two objects a segment."""
    network = prepare(
        AOTNetwork.from_state(MODELS[model], stand_in_weights(model)), torch.device(device), compile_network=compiled
    )
    frames = torch.from_numpy(drift(length, size)).to(device)
    labels = torch.from_numpy(two_squares(size)).to(device).expand(segments, -1, -1)
    reset_peak(device)

    def run() -> Tensor:
        with inference(torch.device(device), precision):
            return propagate(network, frames, labels)

    start = time.perf_counter()
    run()
    synchronise(device)
    warm_up_s = time.perf_counter() - start
    seconds = best_of(run, device=device)
    return {
        "frames_a_second": segments * (length - 1) / seconds,
        "wall_s": seconds,
        "warm_up_s": warm_up_s,
        "peak_mb": peak_mb(device),
    }


def propagate(network: AOTNetwork, frames: Tensor, labels: Tensor) -> Tensor:
    """``(L - 1, S, H, W)`` label maps of S segments that show the same ``(L, H, W, 3)`` frames, nothing on the host."""
    segments, size = len(labels), tuple(labels.shape[1:])

    def features(t: int) -> Features:  # each segment's frame is encoded, as if they differed
        return network.encode(normalised(frames[t].expand(segments, -1, -1, -1)))

    lockstep = LockStep(
        Engine(network, rule=MemoryRule(network.config.memory_gap)), features(0), labels, [2] * segments
    )
    found = []
    for t in range(1, len(frames)):
        lockstep.step(features(t))
        found.append(most_likely(lockstep.probability(size)))
        if t + 1 < len(frames):
            lockstep.feed(found[-1])
    return torch.stack(found)


def from_clip_rate(
    model: str, size: Size, *, segments: int, length: int, precision: Precision, device: str
) -> dict[str, Any]:
    """Frames a second from a clip in the host's memory to probabilities there, as ``CoProp`` calls the propagator."""
    engine = AOT(model, checkpoint=stand_in_weights(model), device=device, precision=precision, batch=segments)
    clip = clip_of(np.concatenate([drift(length, size)] * segments))
    mask = probabilities(two_squares(size))
    tasks = [PropagationTask(i * length, (i + 1) * length, i * length, mask) for i in range(segments)]
    list(engine.propagate(clip, tasks))
    # A clip of its own each time: the engine keeps what it encoded of a clip that it knows.
    seconds = best_of(lambda: list(engine.propagate(replace(clip), tasks)), device=device)
    return {"frames_a_second": segments * (length - 1) / seconds, "wall_s": seconds}


def half_precision_iou(model: str, clips: Sequence[Path], *, precision: Precision, device: str) -> dict[str, Any]:
    """Smallest and mean IoU of an object's mask in a half precision with that in float32, on decoded clips."""
    rows = {}
    weights = stand_in_weights(model)
    for path in clips:
        with np.load(path, allow_pickle=False) as stored:
            clip, mask = clip_of(stored["frames"]), probabilities(stored["labels"])
        task = PropagationTask(0, clip.num_frames, 0, mask)
        full, half = (
            next(AOT(model, checkpoint=weights, device=device, precision=p).propagate(clip, [task])).argmax(axis=1)
            for p in ("float32", precision)
        )
        ious = list(object_ious(full[1:], half[1:]))
        rows[path.stem] = {"mean": float(np.mean(ious)), "smallest": float(np.min(ious)), "masks": len(ious)}
    return rows


def stream_memory(model: str, size: Size, *, frames: Sequence[int], device: str) -> dict[str, Any]:
    """Peak memory of one stream after so many frames, and the last over the first."""
    still = drift(8, size)
    stream = AOT(model, checkpoint=stand_in_weights(model), device=device).stream(
        still[0], probabilities(two_squares(size))
    )
    peaks = {}
    reset_peak(device)
    for t in range(1, max(frames) + 1):
        stream.step(still[t % len(still)])
        if t in frames:
            peaks[str(t)] = peak_mb(device)
    return {"peak_mb": peaks, "ratio": peaks[str(max(frames))] / peaks[str(min(frames))]}


def object_ious(full: np.ndarray, half: np.ndarray) -> Iterator[float]:
    """IoU of each object in each frame where either shows it."""
    for a, b in zip(full, half, strict=True):
        for label in range(1, int(full.max()) + 1):
            union = ((a == label) | (b == label)).sum()
            if union:
                yield float(((a == label) & (b == label)).sum() / union)


def best_of(run: Any, *, device: str, rounds: int = 3) -> float:
    """Best wall seconds of a few rounds, the device's work included."""
    seconds = []
    for _ in range(rounds):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()


def peak_mb(device: str) -> float:
    """The GPU's peak since the last reset; on a CPU what is resident now."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
