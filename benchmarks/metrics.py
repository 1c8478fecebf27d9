"""How fast the metrics are: the plain published loop, ours, and their ratio, in CPU seconds of one thread.

    python benchmarks/metrics.py            text
    python benchmarks/metrics.py --json     the same as JSON

Both sides score the same arrays and must give the same numbers. The calibration kernel (a 1024-cube float32 product)
says how fast the machine is at the moment; wall clocks of busy machines say little, so CPU time is taken, best of n.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from coprop_plugin.masks.labels import channel_map
from coprop_plugin.masks.palette import colours_to_labels
from coprop_plugin.masks.probability import sigmoid
from coprop_plugin.metrics import binary, semantic
from coprop_plugin.metrics.class_counts import class_counts
from coprop_plugin.metrics.protocols import Scorer
from coprop_plugin.structures import Prediction

# The plain loop is the tests' oracle too.
published = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tests/published_metrics.py")))

VIDEOS, FRAMES, SIDE, CLASSES = 64, 5, 224, 71
SEMANTIC_SHAPE = (4, 10, CLASSES, SIDE, SIDE)
BATCH = 4


@dataclass(frozen=True)
class Result:
    """One job: CPU seconds of the plain loop and of ours, and the largest difference of their numbers."""

    job: str
    published_s: float
    ours_s: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.published_s / self.ours_s


def cpu_s(work: Callable[[], Any], *, best_of: int) -> tuple[float, Any]:
    """CPU seconds of the best run, and what the last one returned."""
    best, value = float("inf"), None
    for _ in range(best_of):
        start = time.process_time()
        value = work()
        best = min(best, time.process_time() - start)
    return best, value


def calibration() -> float:
    """CPU seconds of a 1024-cube float32 product."""
    a = torch.ones(1024, 1024)
    return cpu_s(lambda: a @ a, best_of=10)[0]


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth noise ``(*shape, SIDE, SIDE) float32``: coarse normal values, enlarged, with fine noise on top."""
    coarse = rng.normal(0, 4, (*shape, 14, 14)).astype(np.float32).reshape(-1, 14, 14)
    smooth = np.stack([cv2.resize(c, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for c in coarse])
    return (smooth + rng.standard_normal(smooth.shape, np.float32)).reshape(*shape, SIDE, SIDE)


def binary_jobs(rng: np.random.Generator) -> list[Result]:
    """Videos as MS3's test set has them, batches of 4: pure functions, and predictions through the scorer."""
    logits, truth = blobs(rng, (VIDEOS, FRAMES)), blobs(rng, (VIDEOS, FRAMES)) > 3
    z, g = torch.from_numpy(logits), torch.from_numpy(truth.astype(np.float32))
    slow, wanted = cpu_s(lambda: published.binary_test_set(z, g, batch=BATCH), best_of=1)

    def of_logits() -> tuple[float, float]:
        frames = [binary.binary_frames(sigmoid(v), t) for v, t in zip(logits, truth, strict=True)]
        return binary.mean_over_batches(frames, batch=BATCH)

    def of_probabilities() -> tuple[float, float]:
        frames = [binary.binary_frames(v, t) for v, t in zip(probability, truth, strict=True)]
        return binary.mean_over_batches(frames, batch=BATCH)

    def of_predictions() -> tuple[float, float]:
        scorer = Scorer(f"avsbench:batch={BATCH}")
        for v in range(VIDEOS):
            sides = Prediction.from_foreground(logits[v], kind="logit"), Prediction.from_labels(truth[v])
            scorer.add(str(v), *sides)
        scores = scorer.compute()
        return scores["M_J"], scores["M_F"]

    probability = sigmoid(logits)
    name = f"binary, {VIDEOS}x{FRAMES}x{SIDE}x{SIDE}"
    jobs = {"logits": of_logits, "probabilities": of_probabilities, "predictions, scorer": of_predictions}
    results = []
    for kind, job in jobs.items():
        fast, values = cpu_s(job, best_of=5)
        results.append(Result(f"{name} {kind}", slow, fast, float(np.abs(np.subtract(values, wanted)).max())))
    return results


def semantic_jobs(rng: np.random.Generator) -> list[Result]:
    """A batch of AVSS: logits of 71 classes, and label maps."""
    videos, frames = SEMANTIC_SHAPE[:2]
    target = rng.integers(0, CLASSES, (videos * frames, 7, 7)).repeat(32, 1).repeat(32, 2).astype(np.int16)
    logits = np.concatenate([rng.standard_normal((1, *SEMANTIC_SHAPE[2:]), np.float32) for _ in target])
    np.put_along_axis(logits, target[:, None].astype(np.int64), 2.5, axis=1)
    z, g = torch.from_numpy(logits), torch.from_numpy(target.astype(np.int64))

    def published_batches() -> tuple[float, float]:
        parts = [published.semantic_sums(z[i : i + frames], g[i : i + frames]) for i in range(0, len(z), frames)]
        return published.semantic_scores(tuple(sum(p) for p in zip(*parts, strict=True)))

    def scores(maps: list[np.ndarray]) -> tuple[float, float]:
        counts = np.stack([class_counts(x, t, CLASSES) for x, t in zip(maps, target, strict=True)])
        values = semantic.published_scores(*semantic.class_sums(counts))
        return float(values["M_J"]), float(values["M_F"])

    slow, wanted = cpu_s(published_batches, best_of=1)
    fast, values = cpu_s(lambda: scores([channel_map(x, "logit") for x in logits]), best_of=3)
    shape = "x".join(map(str, SEMANTIC_SHAPE))
    results = [Result(f"semantic, {shape} logits", slow, fast, float(np.abs(np.subtract(values, wanted)).max()))]

    maps = [channel_map(x, "logit") for x in logits]
    stacked = torch.from_numpy(np.stack(maps))
    slow, wanted = cpu_s(lambda: published.semantic_scores(published.label_sums(stacked, g, CLASSES)), best_of=2)
    fast, values = cpu_s(lambda: scores(maps), best_of=5)
    difference = float(np.abs(np.subtract(values, wanted)).max())
    return [*results, Result(f"semantic, {len(maps)}x{SIDE}x{SIDE} label maps", slow, fast, difference)]


def colour_job(rng: np.random.Generator) -> Result:
    """Colour masks as AVSBench-semantic stores them, to labels."""
    bits = (np.arange(CLASSES)[:, None] >> np.arange(3)) & 1, (np.arange(CLASSES)[:, None] >> np.arange(3, 6)) & 1
    palette = (bits[0] * 128 + bits[1] * 64 + np.array([[c >> 6, 0, 0] for c in range(CLASSES)]) * 32).astype(np.uint8)
    masks = palette[rng.integers(0, CLASSES, (8, 14, 14)).repeat(16, 1).repeat(16, 2)]
    theirs = [torch.from_numpy(m) for m in masks]
    p = torch.from_numpy(palette)
    slow, wanted = cpu_s(lambda: [published.colours_to_labels(m, p).numpy() for m in theirs], best_of=2)
    colours_to_labels(masks[0], palette)  # the table is made once a palette
    fast, values = cpu_s(lambda: [colours_to_labels(m, palette) for m in masks], best_of=10)
    return Result(f"colour masks, 8x{SIDE}x{SIDE}", slow, fast, float((np.stack(values) != np.stack(wanted)).sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time of the metrics beside the plain published loop.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    before = calibration()
    results = [*binary_jobs(rng), *semantic_jobs(rng), colour_job(rng)]
    kernel_s = min(before, calibration())
    if args.json:
        jobs = [{**asdict(r), "ratio": r.ratio} for r in results]
        print(json.dumps({"threads": 1, "calibration_1024_cube_s": kernel_s, "jobs": jobs}, indent=2))
        return 0
    print(f"calibration, 1024-cube float32 product: {1000 * kernel_s:.1f} ms CPU, one thread\n")
    print(f"{'job':<46} {'published':>10} {'ours':>9} {'ratio':>7}  {'difference':>10}")
    for r in results:
        print(f"{r.job:<46} {r.published_s:>8.3f} s {r.ours_s:>7.4f} s {r.ratio:>6.1f}x  {r.difference:>10.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
