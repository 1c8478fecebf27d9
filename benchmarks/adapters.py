"""What the base models cost: time and memory, the whole clip against single frames, ours against the published way.

    python benchmarks/adapters.py                             every model on five frames, on the CPU
    python benchmarks/adapters.py --device cuda --precision bfloat16
    python benchmarks/adapters.py --lengths 10 100 1000       peak memory of clips of these lengths (long on a CPU)
    python benchmarks/adapters.py --json                      the same as JSON

Weights and clips are made up: speed and memory do not depend on them. On the CPU one thread is used and CPU seconds
are taken; every row runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from plain_adapters import plainly

from coprop_plugin.adapters.aavs.adapter import AavsAdapter
from coprop_plugin.adapters.avsegformer.adapter import AVSegFormerAdapter
from coprop_plugin.adapters.catr.adapter import CatrAdapter
from coprop_plugin.adapters.published import PublishedAdapter
from coprop_plugin.adapters.tpavi.adapter import TpaviAdapter
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
}
EVERY = 10  # frames from one keyframe to the next in the memory table
WAYS = ("plain", "clip", "frame")
LENGTH_WAYS = ("whole clip at once", "clip, by windows", "Co-Prop, keyframes")


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
    if kind is not AVSegFormerAdapter:
        options["audio_checkpoint"] = rule.rule_network(VGGish)
    return kind(rule.rule_state(lambda: variant.make({})), variant=name, **options)


def read_all(prediction: Prediction) -> None:
    for t in range(prediction.num_frames):
        prediction.frame(t)


def work_of(way: str, adapter: PublishedAdapter, clip: Clip) -> Callable[[], object]:
    """What one row measures."""
    if way == "frame":
        return lambda: adapter.predict_frames(clip, range(clip.num_frames))
    if way == "Co-Prop, keyframes":
        method = CoProp.paper(control_points={"name": "every_k", "k": EVERY}, propagator="hold")
        return lambda: read_all(method(clip, adapter, mode="frame").prediction)
    return lambda: read_all(adapter.predict(clip))


def measure(model: str, way: str, num_frames: int, device: str, precision: str) -> dict[str, Any]:
    """Seconds and peak memory of one way through one clip, in this process."""
    torch.set_num_threads(1)
    batch = num_frames if way == "whole clip at once" else None
    adapter = make_adapter(model, device=device, precision=precision, batch_frames=batch)
    clip, gpu = make_clip(num_frames), adapter.device.type == "cuda"
    before = peak_bytes(gpu)
    work = work_of(way, adapter, clip)
    with plainly() if way == "plain" else nullcontext():
        if gpu:
            work()  # the first run sets the GPU up
            torch.cuda.synchronize()
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start if gpu else time.process_time() - cpu_start
    return {
        "model": model,
        "way": way,
        "frames": num_frames,
        "seconds": seconds,
        "frames_per_s": num_frames / seconds,
        "peak_mb": peak_bytes(gpu) / 1e6,
        "model_mb": before / 1e6,
    }


def peak_bytes(gpu: bool) -> int:
    if gpu:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(arguments: argparse.Namespace, model: str, way: str, num_frames: int) -> dict[str, Any]:
    row = json.dumps([model, way, num_frames, arguments.device, arguments.precision])
    done = subprocess.run([sys.executable, __file__, "--row", row], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"model": model, "way": way, "frames": num_frames, "failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout)


def as_text(row: dict[str, Any]) -> str:
    start = f"{row['model']:<36} {row['way']:<20} {row['frames']:>5}"
    if "failed" in row:
        return f"{start}  failed: {' '.join(row['failed'])}"
    return (
        f"{start} {row['seconds']:>9.2f} {row['frames_per_s']:>9.2f} {row['peak_mb']:>9.0f} "
        f"{row['peak_mb'] - row['model_mb']:>9.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="parts of names, as tpavi (all of them without it)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--lengths", type=int, nargs="*", default=[], help="frames of the clips of the memory table")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(*json.loads(arguments.row))))
        return
    chosen = [m for m in MODELS if not arguments.models or any(part in m for part in arguments.models)]
    jobs = [(m, way, 5) for m in chosen for way in WAYS]
    jobs += [(m, way, length) for m in chosen for length in arguments.lengths for way in LENGTH_WAYS]
    if not arguments.json:
        print(f"{'model':<36} {'way':<20} frames   seconds  frames/s   peak MB  above the model MB")
    rows = []
    for job in jobs:
        rows.append(in_a_process(arguments, *job))
        if not arguments.json:
            print(as_text(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
