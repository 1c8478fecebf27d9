"""Pixel counts per class, from which every semantic number follows."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import PredictionError


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
