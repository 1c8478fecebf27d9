"""Binary IoU and F-score as AVSBench publishes them (S4, MS3), exact and without the loop over thresholds.

The published rules, all of them kept:

* foreground is a probability above 0.5; a frame whose truth is empty scores the share of pixels left background;
* the F-score (beta^2 = 0.3) takes 255 thresholds, "reached" is ``>=``; frames with an empty truth are left out; the
  value of a batch is the maximum of its mean curve, 0 where no frame has an object;
* the value of a test set is the plain mean over batches, so it depends on how many videos a batch has.

The pixels at every threshold come from one histogram (``threshold_counts.py``); the float32 arithmetic on them is the
published one, in its order.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from ..errors import PredictionError
from ..masks.probability import sigmoid
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio
from .threshold_counts import NUM_THRESHOLDS, FrameCounts, count_frame, count_mask


@dataclass(frozen=True)
class BinaryFrames:
    """The parts of N frames from which every binary score is made.

    Attributes:
        iou: ``(N,) float32``, with the rule for an empty truth.
        f_curve: ``(N, 255) float32``, F at each threshold; zeros where the truth is empty.
        sounding: ``(N,) bool``, the truth has an object.
    """

    iou: np.ndarray
    f_curve: np.ndarray
    sounding: np.ndarray

    def __len__(self) -> int:
        return len(self.iou)

    def mean_iou(self) -> float:
        """The published value of these frames as one batch: a float32 sum over the number of frames."""
        return float(torch.from_numpy(self.iou).sum() / len(self))

    def max_f(self) -> float:
        """The published value of these frames as one batch: the maximum of the mean curve, 0 without any object."""
        if not self.sounding.any():
            return 0.0
        curve = np.add.reduce(self.f_curve[self.sounding], axis=0)  # frame after frame, as published
        return float((curve / np.float32(self.sounding.sum())).max())


Batch = int | Literal["all", "free"]
"""Videos a batch, all in one batch, or free: frames are the units, and one curve is taken over all of them."""


def binary_frames(
    probability: np.ndarray, truth: np.ndarray, *, mask: np.ndarray | None = None, valid: np.ndarray | None = None
) -> BinaryFrames:
    """IoU and F curves of N frames.

    Args:
        probability: ``(N, H, W) float32`` in [0, 1]. NaN counts as background at every threshold, as published.
        truth: ``(N, H, W)`` bool or 0/1; other floats in [0, 1] enter the formulas as they are.
        mask: ``(N, H, W) bool``, the foreground of the IoU where it is not ``probability > 0.5``.
        valid: ``(N, H, W) bool``, pixels that count (default: all); every frame needs one.

    Raises:
        PredictionError: shapes differ, or probabilities outside [0, 1].
    """
    _check(probability, truth)
    counts = [
        count_frame(
            probability[n],
            truth[n],
            mask=None if mask is None else mask[n],
            valid=None if valid is None else valid[n],
        )
        for n in range(len(truth))
    ]
    return score_frames(counts)


def two_channel_frames(scores: np.ndarray, truth: np.ndarray) -> BinaryFrames:
    """Stepping-Stones' rule for two non-negative channels ``(N, 2, H, W)``, background first.

    IoU of the argmax (a tie is background), F of :func:`two_channel_probability`.
    """
    return binary_frames(two_channel_probability(scores), truth, mask=scores[:, 1] > scores[:, 0])


def two_channel_probability(scores: np.ndarray) -> np.ndarray:
    """``(..., 2, H, W) -> (..., H, W) float32``: ``sigmoid(2 * l1 - l0)``, what Stepping-Stones hands to the F-score."""
    background, foreground = np.moveaxis(scores.astype(np.float32, copy=False), -3, 0)
    return sigmoid(2 * foreground - background)


def mean_over_batches(videos: Sequence[BinaryFrames], *, batch: int | None) -> tuple[float, float]:
    """``(M_J, M_F)`` of a test set: the mean over batches of ``batch`` consecutive videos (``None``: all in one)."""
    batches = [join(part) for part in in_batches(videos, batch)]
    return float(np.mean([b.mean_iou() for b in batches])), float(np.mean([b.max_f() for b in batches]))


def in_batches(videos: Sequence[BinaryFrames], batch: int | None) -> list[Sequence[BinaryFrames]]:
    """Consecutive videos, ``batch`` at a time; the last batch may be smaller."""
    size = batch or max(1, len(videos))
    return [videos[i : i + size] for i in range(0, len(videos), size)]


def join(parts: Sequence[BinaryFrames]) -> BinaryFrames:
    """The frames of several parts, in order."""
    return BinaryFrames(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("iou", "f_curve", "sounding")))


def score_frames(counts: Sequence[FrameCounts]) -> BinaryFrames:
    """IoU and F of counted frames, in the published float32 arithmetic."""
    truth = np.array([c.truth for c in counts], float)
    sounding = truth > 0
    both = np.where(sounding, [c.both for c in counts], [c.pixels - c.mask for c in counts]).astype(np.float32)
    either = np.where(sounding, [c.either for c in counts], [c.pixels for c in counts]).astype(np.float32)
    reached, hits = np.stack([c.reached for c in counts]), np.stack([c.hits for c in counts])
    f_curve = f_score(*precision_recall(reached, hits, truth))
    f_curve[~sounding] = 0
    return BinaryFrames(both / (either + np.float32(1e-7)), f_curve, sounding)


def precision_recall(reached: np.ndarray, hits: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Published precision and recall, ``(N, 255) float32`` each, from counts ``(N, 255)``, ``(N, 255)`` and ``(N,)``."""
    tiny = np.float32(1e-20)
    hits = hits.astype(np.float32)
    return hits / (reached.astype(np.float32) + tiny), hits / (truth.astype(np.float32)[:, None] + tiny)


def f_score(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """F with beta^2 = 0.3 in the published float32 order; 0 where it is not defined."""
    with np.errstate(invalid="ignore"):
        f = np.float32(1.3) * precision * recall / (np.float32(0.3) * precision + recall)
    return np.nan_to_num(f, copy=False, nan=0.0)


@dataclass(frozen=True)
class Binary(Family):
    """``M_J`` and ``M_F`` of any object against the background.

    Attributes:
        batch: how videos are taken together.
        rule: what the scores are turned into: the foreground's probability, or Stepping-Stones' two-channel rule.
    """

    batch: Batch = 1
    rule: Literal["probability", "two-channel"] = "probability"
    size: tuple[int, int] | None = None

    def open(self, video: VideoInfo) -> _BinaryVideo:
        return _BinaryVideo(self)

    def rows(self, videos: Sequence[Sums]) -> list[Sums]:
        if self.one_row_a_video():
            return list(videos)
        batch = None if self.batch == "all" else int(self.batch)
        return [_batch(join(part)) for part in in_batches([_unpack(video) for video in videos], batch)]

    def one_row_a_video(self) -> bool:
        return self.batch in (1, "free")

    def sweeps_scores(self) -> bool:
        return True

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.batch == "free":
            curve = ratio(totals["f_curve"], totals["sounding"][:, None])
            return {"M_J": ratio(totals["iou"], totals["frames"]), "M_F": curve.max(axis=1)}
        return {name: ratio(totals[key], totals["batches"]) for name, key in (("M_J", "iou"), ("M_F", "f"))}


@dataclass
class _BinaryVideo:
    family: Binary
    counts: list[FrameCounts] = field(default_factory=list)

    def add(self, frame: FramePair) -> None:
        self.counts.append(frame.counted(("thresholds", self.family.rule), self._count))

    def _count(self, frame: FramePair) -> FrameCounts:
        truth, valid = frame.truth_mask, frame.valid
        if frame.hard:
            return count_mask(frame.mask, truth, valid=valid)
        if self.family.rule == "two-channel":
            if len(frame.scores) != 2:
                raise PredictionError(f"the two-channel rule needs 2 channels of scores, got {len(frame.scores)}.")
            mask = frame.scores[1] > frame.scores[0]
            return count_frame(two_channel_probability(frame.scores), truth, mask=mask, valid=valid)
        return count_frame(frame.probability, truth, mask=frame.mask, valid=valid)

    def close(self) -> Sums:
        frames = score_frames(self.counts)
        if self.family.batch == "free":
            curve = frames.f_curve.sum(axis=0, dtype=float)
            sums = {"iou": frames.iou.sum(dtype=float), "frames": len(frames), "sounding": int(frames.sounding.sum())}
            return {**sums, "f_curve": curve.tolist()}
        return _batch(frames) if self.family.batch == 1 else _pack(frames)


def _batch(frames: BinaryFrames) -> Sums:
    return {"iou": frames.mean_iou(), "f": frames.max_f(), "batches": 1}


def _pack(frames: BinaryFrames) -> Sums:
    """Frames as JSON, to the bit, for batches that are cut later."""
    curves = base64.b64encode(frames.f_curve.astype("<f4").tobytes()).decode()
    return {"iou": frames.iou.tolist(), "sounding": frames.sounding.tolist(), "f_curve": curves}


def _unpack(sums: Sums) -> BinaryFrames:
    curves = np.frombuffer(base64.b64decode(sums["f_curve"]), "<f4").astype(np.float32).reshape(-1, NUM_THRESHOLDS)
    return BinaryFrames(np.array(sums["iou"], np.float32), curves, np.array(sums["sounding"], bool))


def _check(probability: np.ndarray, truth: np.ndarray) -> None:
    if probability.shape != truth.shape or truth.ndim != 3 or not truth.size:
        raise PredictionError(f"probability and truth are (N, H, W) alike, got {probability.shape} and {truth.shape}.")
