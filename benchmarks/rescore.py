"""How fast a benchmark is re-scored: the goals of re-scoring, each with what was measured.

    python benchmarks/rescore.py             all of it, about five minutes; wants a quiet machine
    python benchmarks/rescore.py --part cpu --part colours      some parts: cpu, colours, workers, memory
    python benchmarks/rescore.py --json      the same as JSON

* ``cpu``: 64 videos of 5 frames of 224x224, probabilities (MS3's test set): CPU time a video by stage, and scoring
  alone beside the plain published loop, both with one thread, numbers compared;
* ``colours``: a slice of AVSS (10 frames a video) from colour maps on disk to M_J and M_F, beside the published loop
  over colours, numbers compared;
* ``workers``: 1,000 videos with two processes and with one, by the wall clock, start-up apart;
* ``memory``: peak memory of a whole run, tables included, over 50 and over 1,500 videos.

The long sets repeat the 64 videos (hard links); ``workers`` and ``memory`` run in processes of their own. The
calibration kernel (a 1024-cube float32 product) says how fast the machine is, two at once what a second process brings.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from metrics import calibration
from rescore_published import published_scores_of_colours, published_test_set
from rescore_sets import METHOD, repeat, write_avss, write_ms3

import coprop_plugin.rescore.worker as worker_module
from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.datasets.avsbench import AVSBench, open_dataset
from coprop_plugin.metrics.protocols import Scorer
from coprop_plugin.rescore import Processes, RunFolder, make_plan, rescore
from coprop_plugin.rescore.comparison import make_comparison
from coprop_plugin.rescore.plan import DEFAULT_PROTOCOLS, RunPlan
from coprop_plugin.rescore.run import write_tables
from coprop_plugin.rescore.worker import Worker
from coprop_plugin.structures import Prediction

VIDEOS, BATCH = 64, 4
STAGES = ("hash", "read", "refine", "score", "write")
SLICE_VIDEOS, WORKERS_VIDEOS, MEMORY_VIDEOS = 8, 1000, (50, 1500)


@dataclass(frozen=True)
class Line:
    """One number: what, its value and unit, and the goal with the side on which it is reached."""

    what: str
    value: float
    unit: str = ""
    goal: float | None = None
    at_least: bool = True

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def cpu(small: Path, scratch: Path) -> Iterator[Line]:
    """CPU time by stage, and scoring alone against the plain loop."""
    for name, protocols in (("default protocols", DEFAULT_PROTOCOLS), ("protocol avsbench", ("avsbench",))):
        spent = stages(small, scratch / "stages", protocols)
        shutil.rmtree(scratch / "stages")
        yield Line(f"a video, {name}", spent.pop("all"), "ms", goal=80, at_least=False)
        tables = spent.pop("tables")
        for stage in STAGES:
            yield Line(f"  {stage}", spent[stage], "ms")
        yield Line("  tables, once a run", tables, "ms")
    plain_s, ours_s = scoring(small)
    yield Line(f"scoring {VIDEOS} videos, published loop", plain_s, "s")
    yield Line("  ours", ours_s, "s")
    yield Line("  ratio", plain_s / ours_s, "x", goal=30)


def stages(root: Path, out: Path, protocols: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds of CPU a video by stage, and of the tables at the end; the first video is a warm-up."""
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
    plain = worker_module.data_digests
    worker_module.data_digests = timed("hash", plain)
    first, *tasks = plan.tasks()
    assert worker(first).status == "done"
    spent.clear()
    start = time.process_time()
    for task in tasks:
        outcome = worker(task)
        assert outcome.status == "done", outcome.error
    spent["all"] = time.process_time() - start
    worker_module.data_digests = plain
    per_video = {name: 1000 * seconds / len(tasks) for name, seconds in spent.items()}
    start = time.process_time()
    write_tables(folder, make_comparison(plan, folder))
    return per_video | {"tables": 1000 * (time.process_time() - start)}


def scoring(root: Path) -> tuple[float, float]:
    """CPU seconds of the plain published loop and of ours for M_J and M_F of the whole set, in batches of 4."""
    dataset = open_dataset(root)
    videos = dataset.videos("test")
    truth = np.stack([np.asarray(dataset.truth(v).label_maps()) for v in videos])
    scores = np.stack([np.load(root / "predictions" / METHOD / f"{v.video_id}.npy") for v in videos])
    p, g = torch.from_numpy(scores), torch.from_numpy(truth.astype(np.float32))
    start = time.process_time()
    wanted = published_test_set(p, g, batch=BATCH)
    plain_s = time.process_time() - start
    start = time.process_time()
    scorer = Scorer(f"avsbench:batch={BATCH}")
    for v, z, labels in zip(videos, scores, truth, strict=True):
        scorer.add(v.video_id, Prediction.from_foreground(z, kind="probability"), Prediction.from_labels(labels))
    found = scorer.compute()
    ours_s = time.process_time() - start
    assert np.allclose((found["M_J"], found["M_F"]), wanted, atol=1e-6), (found, wanted)
    return plain_s, ours_s


def colours(scratch: Path) -> Iterator[Line]:
    """AVSS's colour maps on disk to scores, the published way and ours."""
    root = scratch / "avss"
    write_avss(root, videos=SLICE_VIDEOS)
    dataset = open_dataset(root)
    frames = sum(dataset.num_frames(video) for video in dataset.videos("test"))
    start = time.process_time()
    wanted = published_scores_of_colours(dataset, root / "predictions/colours", batch=BATCH)
    plain_s = time.process_time() - start
    scores_of_colours(dataset, root / "predictions/colours")  # start-up: the table of all colours is made once a run
    start = time.process_time()
    found = scores_of_colours(dataset, root / "predictions/colours")
    ours_s = time.process_time() - start
    assert np.allclose(found, wanted, atol=1e-6), (found, wanted)
    yield Line(f"AVSS, {frames} frames from colour maps on disk, published loop", plain_s, "s")
    yield Line("  ours", ours_s, "s")
    yield Line("  a frame, ours", 1000 * ours_s / frames, "ms")
    yield Line("  ratio", plain_s / ours_s, "x", goal=50)


def scores_of_colours(dataset: AVSBench, predictions: Path) -> tuple[float, float]:
    """The same through our readers, with all their checks."""
    scorer = Scorer("avsbench")
    for video in dataset.videos("test"):
        guess = read_prediction(predictions / video.video_id, classes="avsbench")
        scorer.add(video.video_id, guess, dataset.truth(video))
    found = scorer.compute()
    return found["M_J"], found["M_F"]


def workers(small: Path, scratch: Path) -> Iterator[Line]:
    """Videos a second of one process and of two, and what two processes can be to one on this machine."""
    root = scratch / "workers"
    repeat(small, root, videos=WORKERS_VIDEOS)
    yield Line("machine: two calibration kernels at once, against one", two_at_once(), "x")
    rates = {}
    for count in (1, 2):
        told = run_apart(root, scratch / f"run{count}", count)
        rates[count] = told["videos_a_second"]
        yield Line(f"{WORKERS_VIDEOS} videos, workers {count}: start-up to the first video", told["start_up_s"], "s")
        yield Line("  rate after it", rates[count], "videos/s")
    yield Line("two workers against one", rates[2] / rates[1], "x", goal=1.7)


def memory(small: Path, scratch: Path) -> Iterator[Line]:
    """Peak resident memory over few videos and over many."""
    peaks = []
    for videos in MEMORY_VIDEOS:
        repeat(small, scratch / f"set{videos}", videos=videos)
        peaks.append(run_apart(scratch / f"set{videos}", scratch / f"memory{videos}", 1)["peak_mb"])
        yield Line(f"peak memory, {videos} videos", peaks[-1], "MB")
    yield Line("  ratio", peaks[1] / peaks[0], "x", goal=1.1, at_least=False)


def plan_of(root: Path, protocols: tuple[str, ...] = DEFAULT_PROTOCOLS) -> RunPlan:
    return make_plan([root / "predictions" / METHOD], root, reading={"kind": "probability"}, protocol=protocols)


def run_apart(root: Path, out: Path, count: int) -> dict[str, float]:
    """What :func:`run_here` tells in a fresh process."""
    command = [sys.executable, __file__, "--run", str(root), str(out), str(count), str(time.time())]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(told.stdout)


def run_here(root: Path, out: Path, count: int, begun: float) -> dict[str, float]:
    """A whole run: seconds from the start of the process to the first video, rate after it, and peak memory."""
    times: list[float] = []
    rescore(plan_of(root), out, engine=Processes(count), pages="none", progress=lambda _: times.append(time.time()))
    warm = times[2 * count :]  # every process is there
    return {
        "start_up_s": times[0] - begun,
        "videos_a_second": (len(warm) - 1) / (warm[-1] - warm[0]),
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Peak resident memory of this program; getrusage would count that of the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def two_at_once() -> float:
    """Products a second of two processes at once, over those of one."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(kernels, [1, 1], chunksize=1)
        alone, together = (sum(pool.map(kernels, [40] * n, chunksize=1)) for n in (1, 2))
    return together / alone


def kernels(count: int) -> float:
    """Calibration kernels a second."""
    torch.set_num_threads(1)
    a = torch.ones(1024, 1024)
    start = time.monotonic()
    for _ in range(count):
        a @ a
    return count / (time.monotonic() - start)


def measured(parts: Iterable[str]) -> Iterator[Line]:
    """All lines of the parts, in order, as they come."""
    with tempfile.TemporaryDirectory() as place:
        scratch, small = Path(place), Path(place) / "ms3"
        write_ms3(small, videos=VIDEOS)
        yield Line("calibration, 1024-cube float32 product", 1000 * calibration(), "ms")
        made = {
            "cpu": lambda: cpu(small, scratch),
            "colours": lambda: colours(scratch),
            "workers": lambda: workers(small, scratch),
            "memory": lambda: memory(small, scratch),
        }
        for part in parts:
            yield from made[part]()
        yield Line("calibration again", 1000 * calibration(), "ms")


def text(line: Line) -> str:
    goal = ""
    if line.goal is not None:
        bound = "at least" if line.at_least else "at most"
        goal = f"goal: {bound} {line.goal:g}, {'reached' if line.reached else 'MISSED'}"
    return f"{line.what:<58} {line.value:>9.2f} {line.unit:<9} {goal}".rstrip()


def main() -> int:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if sys.argv[1:2] == ["--run"]:
        root, out, count, begun = sys.argv[2:]
        print(json.dumps(run_here(Path(root), Path(out), int(count), float(begun))))
        return 0
    parser = argparse.ArgumentParser(description="The goals of batch re-scoring, measured.")
    names = ("cpu", "colours", "workers", "memory")
    parser.add_argument("--part", action="append", choices=names, help="only this (may be repeated)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.json:
        told = [asdict(line) | {"reached": line.reached} for line in measured(args.part or names)]
        print(json.dumps(told, indent=1))
        return 0
    for line in measured(args.part or names):
        print(text(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
