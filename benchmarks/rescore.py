"""How fast a benchmark is re-scored: CPU time a video by stage, scoring beside the plain loop, workers, memory.

    python benchmarks/rescore.py                 64 videos of 5 frames of 224x224, probabilities (MS3's test set)
    python benchmarks/rescore.py --workers 2     also two processes against one, start-up excluded
    python benchmarks/rescore.py --memory 1500   also the peak memory at 50 and at 1,500 videos
    python benchmarks/rescore.py --json          the same as JSON

CPU time of one thread; the calibration kernel (a 1024-cube float32 product) says how fast the machine is at the
moment. The goal is 80 ms of CPU a video for reading, control points, propagation, scores and writing.
"""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.simulators import simulate
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.metrics.protocols import Scorer
from coprop_plugin.rescore import RunFolder, make_plan, rescore
from coprop_plugin.rescore.comparison import make_comparison
from coprop_plugin.rescore.plan import DEFAULT_PROTOCOLS, Plan
from coprop_plugin.rescore.run import write_tables
from coprop_plugin.rescore.worker import Worker
from coprop_plugin.structures import Prediction

VIDEOS, FRAMES, SIDE = 64, 5, 224
GOAL_MS = 80
STAGES = ("hash", "read", "refine", "score", "write")


def write_set(root: Path, *, videos: int, side: int = SIDE) -> None:
    """A data set like MS3's test split, and the probabilities of a model that blinks and is not sure of its edges."""
    dataset = write_dataset(root, kind="ms3", videos=videos, splits=("test",), size=(side, side))
    folder = root / "predictions/blinking"
    folder.mkdir(parents=True)
    for i, video in enumerate(dataset.videos("test")):
        scene = make_clip(int(video.video_id.rpartition("_")[2]), kind="ms3", size=(side, side), semantic=False).scene
        masks = np.asarray(simulate(scene, "flicker", strength=1, seed=i).label_maps())
        noise = np.random.default_rng(i).normal(0, 0.1, masks.shape)
        np.save(folder / f"{video.video_id}.npy", np.clip(0.15 + 0.7 * masks + noise, 0, 1).astype(np.float32))


def plan_of(root: Path, protocols: tuple[str, ...] = DEFAULT_PROTOCOLS) -> Plan:
    return make_plan([root / "predictions/blinking"], root, reading={"kind": "probability"}, protocol=protocols)


def stages(root: Path, out: Path, protocols: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds of CPU a video by stage, and of the tables at the end; the first video is a warm-up."""
    import coprop_plugin.rescore.worker as module

    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            value = work(*args, **options)
            spent[name] += time.process_time() - start
            return value

        return run

    plan, folder = plan_of(root, protocols), RunFolder(out)
    folder.path.mkdir()
    folder.begin(plan.manifest())
    worker = Worker(plan, folder)
    for name in ("read", "refine", "score", "write"):
        setattr(worker, name, timed(name, getattr(worker, name)))
    plain = module.data_digests
    module.data_digests = timed("hash", plain)
    first, *tasks = plan.tasks()
    assert worker(first).status == "done"
    spent.clear()
    start = time.process_time()
    for task in tasks:
        outcome = worker(task)
        assert outcome.status == "done", outcome.error
    spent["all"] = time.process_time() - start
    module.data_digests = plain
    per_video = {name: 1000 * seconds / len(tasks) for name, seconds in spent.items()}
    start = time.process_time()
    write_tables(folder, make_comparison(plan, folder))
    return per_video | {"tables, once": 1000 * (time.process_time() - start)}


def scoring_ratio(root: Path) -> tuple[float, float]:
    """CPU seconds of the plain published loop and of ours for M_J and M_F of the whole set, numbers compared."""
    published = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tests/published_metrics.py")))
    dataset = open_dataset(root)
    videos = dataset.videos("test")
    truth = np.stack([np.asarray(dataset.truth(v).label_maps()) for v in videos])
    scores = np.stack([np.load(root / f"predictions/blinking/{v.video_id}.npy") for v in videos])
    logits = torch.from_numpy(np.log(np.clip(scores, 1e-6, 1 - 1e-6) / (1 - np.clip(scores, 1e-6, 1 - 1e-6))))
    start = time.process_time()
    wanted = published.binary_test_set(logits, torch.from_numpy(truth.astype(np.float32)), batch=4)
    plain_s = time.process_time() - start
    start = time.process_time()
    scorer = Scorer("avsbench:batch=4")
    for v, z, g in zip(videos, logits.numpy(), truth, strict=True):
        scorer.add(v.video_id, Prediction.from_foreground(z, kind="logit"), Prediction.from_labels(g))
    found = scorer.compute()
    ours_s = time.process_time() - start
    assert np.allclose((found["M_J"], found["M_F"]), wanted, atol=1e-6), (found, wanted)
    return plain_s, ours_s


def videos_per_second(root: Path, out: Path, *, workers: int) -> tuple[float, float]:
    """Start-up seconds (to the first outcome) and the rate after it, by the wall clock."""
    times = [time.monotonic()]
    rescore(plan_of(root), out, workers=workers, pages="none", progress=lambda _: times.append(time.monotonic()))
    warm = times[2 * workers :]  # every process is there
    return times[1] - times[0], (len(warm) - 1) / (warm[-1] - warm[0])


def peak_mb(root: Path, out: Path) -> float:
    """Peak resident memory of a whole run in a fresh process."""
    code = (
        "import runpy, resource, sys; from pathlib import Path\n"
        f"b = runpy.run_path({str(Path(__file__).resolve())!r})\n"
        "b['rescore'](b['plan_of'](Path(sys.argv[1])), Path(sys.argv[2]), pages='none')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(root), str(out)], capture_output=True, text=True, check=True)
    return float(told.stdout)


def calibration() -> float:
    """Milliseconds of CPU of a 1024-cube float32 product."""
    a = torch.ones(1024, 1024)
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        a @ a
        best = min(best, time.process_time() - start)
    return 1000 * best


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time of batch re-scoring.")
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--workers", type=int, default=1, help="compare so many processes with one")
    parser.add_argument("--memory", type=int, metavar="N", help="peak memory at 50 and at N videos (of 64x64 pixels)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {"calibration_1024_cube_ms": calibration()}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_set(place / "set", videos=args.videos)
        for name, protocols in (("default protocols", DEFAULT_PROTOCOLS), ("avsbench alone", ("avsbench",))):
            told[f"ms a video, {name}"] = stages(place / "set", place / "out", protocols)
            shutil.rmtree(place / "out")
        plain_s, ours_s = scoring_ratio(place / "set")
        told["scoring alone"] = {"published_s": plain_s, "ours_s": ours_s, "ratio": plain_s / ours_s}
        if args.workers > 1:
            rates = {n: videos_per_second(place / "set", place / f"out{n}", workers=n) for n in (1, args.workers)}
            told["workers"] = {str(n): {"start_up_s": s, "videos_a_second": rate} for n, (s, rate) in rates.items()}
            told["workers"]["ratio"] = rates[args.workers][1] / rates[1][1]
        if args.memory:
            for count in (50, args.memory):
                write_set(place / f"set{count}", videos=count, side=64)
                told[f"peak MB, {count} videos"] = peak_mb(place / f"set{count}", place / f"memory{count}")
    told["calibration_1024_cube_ms"] = min(told["calibration_1024_cube_ms"], calibration())
    print(json.dumps(told, indent=2) if args.json else text(told))
    return 0


def text(told: dict[str, Any]) -> str:
    lines = []
    for name, value in told.items():
        if not isinstance(value, dict):
            lines.append(f"{name:<34} {value:9.1f}")
            continue
        lines.append(name)
        for part, number in value.items():
            shown = (
                ", ".join(f"{k} {v:.2f}" for k, v in number.items()) if isinstance(number, dict) else f"{number:9.2f}"
            )
            lines.append(f"  {part:<32} {shown}")
    return "\n".join([*lines, f"goal: at most {GOAL_MS} ms a video"])


if __name__ == "__main__":
    sys.exit(main())
