"""Label maps and scores at another size, each by the one rule that published loaders use for it."""

from __future__ import annotations

import numpy as np

from .probability import tensor


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(h, w)`` labels at ``(H, W)``, each from the nearest pixel (the rule of PIL)."""
    if labels.shape == tuple(size):
        return labels
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def bilinear(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(C, h, w) float32`` at ``(H, W)``, corners not aligned (torch's default, published models' rule)."""
    if scores.shape[1:] == tuple(size):
        return scores
    import torch.nn.functional

    resized = torch.nn.functional.interpolate(
        tensor(scores)[None], size=tuple(size), mode="bilinear", align_corners=False
    )
    return resized[0].numpy()
