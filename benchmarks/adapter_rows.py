"""One row of ``adapters.py``: a base model, a way to run it, a clip; measured in a process that does nothing else."""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from plain_adapters import plainly
from torch import Tensor

from coprop_plugin.adapters.aavs.adapter import AavsAdapter
from coprop_plugin.adapters.avsegformer.adapter import AVSegFormerAdapter
from coprop_plugin.adapters.catr.adapter import CatrAdapter
from coprop_plugin.adapters.published import Batch, PublishedAdapter
from coprop_plugin.adapters.tpavi.adapter import TpaviAdapter
from coprop_plugin.adapters.vct.adapter import VctAdapter
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.coprop import CoProp
from coprop_plugin.structures import Clip, FrameStack, Prediction, Sound, TimeBase

# Made-up weights, as the tests have them.
rule = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tests/rule_weights.py")))

MODELS: dict[str, tuple[type[PublishedAdapter], str]] = {
    "avsegformer pvt_v2_b5-s4 (512 px)": (AVSegFormerAdapter, "pvt_v2_b5-s4"),
    "avsegformer resnet50-avss": (AVSegFormerAdapter, "resnet50-avss"),
    "tpavi resnet50-s4": (TpaviAdapter, "resnet50-s4"),
    "tpavi pvt_v2_b5-avss": (TpaviAdapter, "pvt_v2_b5-avss"),
    "catr (448 px)": (CatrAdapter, "pvt_v2_b5"),
    "aavs stage1": (AavsAdapter, "stage1"),
    "vct s4 (384 px)": (VctAdapter, "s4"),
}
TIMED = ("plain", "clip", "frame")
WHOLE, BY_WINDOWS, CO_PROP = "whole clip at once", "clip, by windows", "Co-Prop, keyframes"
EVERY = 10  # frames from one keyframe to the next in the memory table
OVER_LIMIT = 77  # exit status of a row that needed more memory than allowed


@dataclass(frozen=True)
class Row:
    """What is measured.

    Attributes:
        model: a name of MODELS.
        way: of TIMED, or WHOLE (all frames in one batch), BY_WINDOWS (the adapter's own batches), CO_PROP (the base
            model at every tenth frame, ``flow`` in between).
        frames: of the clip.
        limit_gib: the process ends when its memory reaches this.
        real_batches: the network is run on so many batches, the following ones repeat its last answer; all else is
            done for every frame. 0: it is always run.
    """

    model: str
    way: str
    frames: int
    device: str = "cpu"
    precision: str = "float32"
    limit_gib: float = 0.0
    real_batches: int = 0


def measure(row: Row) -> dict[str, Any]:
    """Seconds (of CPU without a GPU) and memory of one row, in this process, with one thread."""
    torch.set_num_threads(1)
    options = {"device": row.device, "precision": row.precision}
    adapter = make_adapter(row.model, batch_frames=row.frames if row.way == WHOLE else None, **options)
    clip, gpu = make_clip(row.frames), adapter.device.type == "cuda"
    if row.real_batches:
        repeat_answers(adapter, after=row.real_batches)
    work = work_of(row.way, adapter, clip)
    with plainly() if row.way == "plain" else nullcontext():
        if gpu:
            work()  # the first run sets the GPU up
            torch.cuda.synchronize()
        model_bytes = reset_peak(gpu)
        if row.limit_gib and not gpu:
            end_beyond(row.limit_gib)
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start if gpu else time.process_time() - cpu_start
    peak_bytes = torch.cuda.max_memory_allocated() if gpu else status_bytes("VmHWM")
    return {"seconds": seconds, "peak_mb": peak_bytes / 1e6, "model_mb": model_bytes / 1e6}


def make_clip(num_frames: int) -> Clip:
    frames = FrameStack(
        lambda t: rule.noise(224, 224, 3, seed=t), num_frames=num_frames, frame_shape=(224, 224, 3), dtype=np.uint8
    )
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, num_frames * 16000).astype(np.float32)
    return Clip("noise", frames, Sound(samples, 16000), TimeBase.of("avsbench", num_frames))


def make_adapter(model: str, **options: Any) -> PublishedAdapter:
    """The adapter with made-up weights instead of a checkpoint."""
    kind, name = MODELS[model]
    variants = sys.modules[kind.__module__].VARIANTS
    variant = next(variant for variant in variants if variant.name == name)
    if kind is VctAdapter:
        options["maskige"] = stripes
    elif kind is not AVSegFormerAdapter:
        options["audio_checkpoint"] = rule.rule_network(VGGish)
    return kind(rule.rule_state(lambda: variant.make({})), variant=name, **options)


def stripes(clip: Clip, t: int) -> np.ndarray:
    """Segments of a frame, as many as Semantic-SAM finds: what making a picture of them costs is measured too."""
    masks = np.zeros((60, *clip.size), bool)
    for i, mask in enumerate(masks):
        mask[:, 3 * i : 3 * i + 40 + t] = True
    return masks


def work_of(way: str, adapter: PublishedAdapter, clip: Clip) -> Callable[[], object]:
    """What one row does."""
    if way == "frame":
        return lambda: adapter.predict_frames(clip, range(clip.num_frames))
    if way == CO_PROP:
        method = CoProp.paper(control_points={"name": "every_k", "k": EVERY}, propagator="flow")
        return lambda: read_all(method(clip, adapter, mode="frame").prediction)
    return lambda: read_all(adapter.predict(clip))


def read_all(prediction: Prediction) -> None:
    for t in range(prediction.num_frames):
        prediction.frame(t)


def repeat_answers(adapter: PublishedAdapter, *, after: int) -> None:
    """After some batches of one size, answer with the last answer instead of running the network."""
    own = adapter.answer
    seen: dict[int, int] = {}
    last: dict[int, Tensor] = {}

    def answer(batch: Batch, *, alone: bool) -> Tensor:
        size = len(batch.places)
        seen[size] = seen.get(size, 0) + 1
        if seen[size] <= after:
            last[size] = own(batch, alone=alone)
        return last[size].clone()

    adapter.answer = answer  # type: ignore[method-assign]


def reset_peak(gpu: bool) -> int:
    """Bytes in use now; the peak counts from here."""
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what loading left behind is not the model's
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def status_bytes(key: str) -> int:
    """An entry of this process's status, such as its resident memory now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024


def end_beyond(limit_gib: float) -> None:
    """Watch this process's memory 100 times a second; end it with OVER_LIMIT when it is beyond the limit."""

    def watch() -> None:
        while status_bytes("VmRSS") <= limit_gib * (1 << 30):
            time.sleep(0.01)
        os._exit(OVER_LIMIT)

    threading.Thread(target=watch, daemon=True).start()
