"""The label map of one frame's class scores, and pixel counts per class."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import PredictionError
from ..structures.prediction import Kind
from .probability import softmax

# Two logits this close can have equal float32 softmax values (observed up to 2e-7), and then the lower class wins.
_SOFTMAX_TIE = np.float32(1e-6)


def channel_map(scores: np.ndarray, kind: Kind) -> np.ndarray:
    """``(H, W)`` index of the best channel of ``(C, H, W) float32`` scores; ties go to the lower channel.

    Logits are compared as published code does, after a float32 softmax: the few pixels where it can make a tie
    go through it, the others are their plain argmax. No score may be NaN.
    """
    flat = scores.reshape(len(scores), -1)
    best = flat.max(axis=0)
    bar = best - _SOFTMAX_TIE if kind == "logit" else best
    dtype = np.uint8 if len(flat) <= 256 else np.int32
    channel, candidates = np.zeros((2, flat.shape[1]), dtype)
    near = np.empty(flat.shape[1], bool)
    for c, row in enumerate(flat):  # one pass over a class at a time is several times faster than argmax(axis=0)
        np.greater_equal(row, bar, out=near)
        candidates += near
        channel += near * dtype(c)
    several = np.flatnonzero(candidates != 1)
    if len(several):
        tied = flat[:, several]
        channel[several] = (softmax(tied) if kind == "logit" else tied).argmax(axis=0)
    return channel.reshape(scores.shape[1:])


def class_counts(labels: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """``(3, C) int64``: pixels per class in both, in the labels and in the truth; see :func:`confusion`."""
    pairs = confusion(labels, truth, num_classes)
    return np.stack([pairs.diagonal(), pairs.sum(axis=1), pairs.sum(axis=0)])


def confusion(labels: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """``(C, C) int64``: pixels whose label is the row's class and whose truth the column's; truth -1 is left out.

    Args:
        labels: ``(H, W)`` integers in [0, C).
        truth: ``(H, W)`` integers in [0, C), or -1.

    Raises:
        PredictionError: shapes differ, or a value outside the classes.
    """
    if labels.shape != truth.shape:
        raise PredictionError(f"labels and truth are (H, W) alike, got {labels.shape} and {truth.shape}.")
    if truth.dtype.kind != "u" and truth.min() < 0:
        valid = truth != -1
        labels, truth = labels[valid], truth[valid]
    for values in (labels, truth):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise PredictionError(
                f"label maps hold classes 0 to {num_classes - 1}, got values from {values.min()} to {values.max()}."
            )
    dtype = np.int16 if num_classes**2 <= np.iinfo(np.int16).max else np.int32
    pairs: np.ndarray = labels.astype(dtype, copy=False) * num_classes + truth.astype(dtype, copy=False)
    counts = torch.bincount(torch.from_numpy(pairs.ravel()), minlength=num_classes**2).numpy()
    return counts.reshape(num_classes, num_classes)
