"""How many pixels of a frame reach each of the 255 thresholds, in it and in its truth.

One histogram of the highest threshold that each pixel reaches, taken over the frame and over the truth, holds the
counts of all thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import PredictionError
from .thresholds import THRESHOLDS, highest_threshold

NUM_THRESHOLDS = len(THRESHOLDS)


@dataclass(frozen=True)
class FrameCounts:
    """Pixel counts of one frame; those with the truth are fractional where the truth is.

    Attributes:
        pixels: of the frame.
        mask, truth, both, either: of the IoU's foreground, the truth, their intersection and union.
        reached: ``(255,)`` pixels that reach each threshold.
        hits: ``(255,)`` those of them in the truth.
    """

    pixels: int
    mask: float
    truth: float
    both: float
    either: float
    reached: np.ndarray
    hits: np.ndarray


def count_frame(
    probability: np.ndarray, truth: np.ndarray, *, mask: np.ndarray | None = None, valid: np.ndarray | None = None
) -> FrameCounts:
    """The counts of one frame, ``(H, W)`` each (see :func:`binary_frames`)."""
    mask = probability > np.float32(0.5) if mask is None else mask
    if valid is not None:
        probability, truth, mask = probability[valid], truth[valid], mask[valid]
    truth = _as_bool(truth)
    overlap = _overlap(mask, truth)
    low, high = probability.min(), probability.max()
    if np.isnan(high):
        known = ~np.isnan(probability)
        probability, truth = probability[known], truth[known]
        low, high = probability.min(initial=0), probability.max(initial=0)
    if low < 0 or high > 1:
        raise PredictionError(f"probabilities lie in [0, 1], got values from {low:.4g} to {high:.4g}.")
    of_all, of_truth = _histograms(highest_threshold(probability), truth)
    return FrameCounts(*overlap, reached=_from_above(of_all), hits=_from_above(of_truth))


def count_mask(mask: np.ndarray, truth: np.ndarray, *, valid: np.ndarray | None = None) -> FrameCounts:
    """The counts of a hard mask ``(H, W) bool``: those of the probabilities 0 and 1, without a histogram."""
    if valid is not None:
        mask, truth = mask[valid], truth[valid]
    overlap = pixels, area, truth_area, both, _ = _overlap(mask, _as_bool(truth))
    reached, hits = np.full(NUM_THRESHOLDS, area), np.full(NUM_THRESHOLDS, both)
    reached[0], hits[0] = pixels, truth_area  # every pixel reaches the threshold 0
    return FrameCounts(*overlap, reached=reached, hits=hits)


def _overlap(mask: np.ndarray, truth: np.ndarray) -> tuple[int, float, float, float, float]:
    """Pixels, and the sums of mask, truth, both and either."""
    area = int(np.count_nonzero(mask))
    if truth.dtype == bool:
        truth_area, both = int(np.count_nonzero(truth)), int(np.count_nonzero(mask & truth))
        return mask.size, area, truth_area, both, area + truth_area - both
    return mask.size, area, float(truth.sum()), float(truth[mask].sum()), float(np.maximum(mask, truth).sum())


def _histograms(highest: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels per highest threshold ``(255,)``: all of them, and those of the truth."""
    if truth.dtype != bool:
        flat = highest.ravel()
        soft = np.bincount(flat, weights=truth.ravel(), minlength=NUM_THRESHOLDS)
        return np.bincount(flat, minlength=NUM_THRESHOLDS), soft
    keys = highest + truth * np.int16(NUM_THRESHOLDS)  # one pass counts both
    counts = torch.bincount(torch.from_numpy(keys.ravel()), minlength=2 * NUM_THRESHOLDS).numpy()
    background, foreground = counts.reshape(2, NUM_THRESHOLDS)
    return background + foreground, foreground


def _from_above(histogram: np.ndarray) -> np.ndarray:
    """How many lie in each bin or above it."""
    return np.cumsum(histogram[::-1])[::-1]


def _as_bool(truth: np.ndarray) -> np.ndarray:
    """The truth as bool, unless it is soft."""
    if truth.dtype == bool:
        return truth
    if truth.size and not 0 <= truth.min() <= truth.max() <= 1:
        raise PredictionError(
            f"a truth is 0 and 1 (or soft, between them), got values from {truth.min():.4g} to {truth.max():.4g}; "
            "masks stored as 0 and 255 are divided by 255 first."
        )
    ones = truth != 0
    return ones if (truth[ones] == 1).all() else truth
