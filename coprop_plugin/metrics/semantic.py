"""Semantic mIoU and F-score: as AVSBench-semantic publishes them, and per data set as mmseg pools them.

Published (AVSBench, AVSegFormer, COMBO, Stepping-Stones): IoU and F (beta^2 = 0.3) per frame and class; a class
counts in a frame where prediction or truth shows it; its value is the mean over those frames; a class that was
never seen counts 0; the score is the mean over all classes, the background (class 0) among them. "No background" is
published in two ways: dropping the last class (AVSBench, AVSegFormer: not the background) or the first.

Per data set (mmseg's IoUMetric, CAVP's tables): pixels are pooled over all frames first, one ratio per class, mean
over the classes that occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import PredictionError
from .binary import f_score
from .class_counts import class_counts
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio


def frame_class_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``iou (C,) float32, f (C,) float32, seen (C,) bool`` of one frame from :func:`labels.class_counts` ``(3, C)``."""
    both, labels, truth = counts.astype(np.float32)
    either = labels + truth - both
    with np.errstate(invalid="ignore", divide="ignore"):
        f = f_score(both / labels, both / truth)
    return both / (either + np.float32(np.finfo(float).eps)), f, either > 0


def class_sums(counts: np.ndarray) -> np.ndarray:
    """``(3, C) float64``: IoU sum, F sum and number of frames of each class, over frames ``(N, 3, C)``."""
    return np.sum([np.stack(frame_class_scores(frame)) for frame in counts], axis=0, dtype=float)


def published_scores(iou_sum: np.ndarray, f_sum: np.ndarray, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The published numbers from per-class sums ``(..., C)``: headline, both "no background" variants, seen only."""
    seen = frames > 0
    scores: dict[str, np.ndarray] = {}
    for name, total in (("M_J", iou_sum), ("M_F", f_sum)):
        mean = np.nan_to_num(ratio(total, frames), nan=0.0)
        mean[~seen.any(axis=-1)] = np.nan  # not one frame
        scores[name] = mean.mean(axis=-1)
        scores[f"{name}/drop_first"] = mean[..., 1:].mean(axis=-1)
        scores[f"{name}/drop_last"] = mean[..., :-1].mean(axis=-1)
        scores[f"{name}/present_only"] = ratio(mean.sum(axis=-1), seen.sum(axis=-1))
    return scores | {"classes_seen": seen.sum(axis=-1)}


def pooled_scores(both: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """IoU and F (beta^2 = 0.3) of pixels pooled over the data set ``(..., C)``, per class and as means (NaN: absent)."""
    either = labels + truth - both
    iou = ratio(both, either)
    precision, recall = ratio(both, labels), ratio(both, truth)
    f = np.where(either > 0, np.nan_to_num(ratio(1.3 * precision * recall, 0.3 * precision + recall), nan=0.0), np.nan)
    return {"iou": iou, "f": f}


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis without NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


def binary_miou_last_background(labels: np.ndarray, truth: np.ndarray, *, num_classes: int) -> float:
    """AVSBench's ``calc_binary_miou`` of ``(N, H, W)`` label maps: it takes the last class for the background.

    The mean over frames of the binary frame IoU (with its rule for an empty truth) of "not the last class".
    """
    predicted, wanted = labels != num_classes - 1, truth != num_classes - 1
    pixels = labels[0].size
    values = []
    for p, g in zip(predicted, wanted, strict=True):
        both, either = ((p & g).sum(), (p | g).sum()) if g.any() else (pixels - p.sum(), pixels)
        values.append(both / either)
    return float(np.mean(values))


def channels_of(labels: np.ndarray, class_ids: tuple[int, ...]) -> np.ndarray:
    """Class ids as places in ``(0, *class_ids)``; -1 stays.

    Raises:
        PredictionError: a label that is none of them.
    """
    if class_ids == tuple(range(1, len(class_ids) + 1)):
        return labels
    ids = np.array((-1, 0, *class_ids))
    place = np.searchsorted(ids, labels).clip(max=len(ids) - 1)
    if (ids[place] != labels).any():
        raise PredictionError(f"labels {np.setdiff1d(labels, ids)[:8].tolist()} are none of the classes {class_ids}.")
    return place - 1


@dataclass(frozen=True)
class Semantic(Family):
    """The published ``M_J`` and ``M_F`` of label maps.

    Attributes:
        pad_frames: videos with fewer frames are filled up with frames that are background in prediction and
            truth, as AVSBench and AVSegFormer score their padding (``None``: no padding).
    """

    pad_frames: int | None = None
    size: tuple[int, int] | None = None

    counts: ClassVar = frozenset({"classes_seen"})

    def open(self, video: VideoInfo) -> _ClassCounts:
        return _ClassCounts(video, self._sums)

    def _sums(self, counts: list[np.ndarray], num_frames: int) -> Sums:
        background = np.zeros_like(counts[0])
        background[:, 0] = 1
        missing = max(0, (self.pad_frames or 0) - num_frames)
        return _json(("iou", "f", "frames"), class_sums(np.stack(counts + [background] * missing)))

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return published_scores(totals["iou"], totals["f"], totals["frames"])


@dataclass(frozen=True)
class PerDataset(Family):
    """``mIoU`` and ``F`` of pixels pooled over all videos."""

    size: tuple[int, int] | None = None

    def open(self, video: VideoInfo) -> _ClassCounts:
        return _ClassCounts(video, lambda counts, _: _json(("both", "labels", "truth"), np.sum(counts, axis=0)))

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        pooled = pooled_scores(totals["both"], totals["labels"], totals["truth"])
        return {
            "mIoU": mean_of_defined(pooled["iou"]),
            "mIoU/foreground": mean_of_defined(pooled["iou"][:, 1:]),
            "F": mean_of_defined(pooled["f"]),
            "F/foreground": mean_of_defined(pooled["f"][:, 1:]),
        }


@dataclass
class _ClassCounts:
    """Counts the pixels of each class, frame after frame."""

    video: VideoInfo
    finish: Callable[[list[np.ndarray], int], Sums]
    counts: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: FramePair) -> None:
        self.counts.append(frame.counted("classes", self._count))

    def _count(self, frame: FramePair) -> np.ndarray:
        labels, truth = (channels_of(x, self.video.class_ids) for x in (frame.labels, frame.truth))
        return class_counts(labels, truth, len(self.video.class_ids) + 1)

    def close(self) -> Sums:
        return self.finish(self.counts, self.video.num_frames)


def _json(names: tuple[str, ...], sums: np.ndarray) -> Sums:
    return dict(zip(names, sums.tolist(), strict=True))
