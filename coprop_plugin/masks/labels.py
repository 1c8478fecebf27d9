"""The label map of one frame's class scores."""

from __future__ import annotations

import numpy as np

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
