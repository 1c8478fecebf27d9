"""The outline of a sound: what a waveform picture needs of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..structures import Sound


def envelope(sound: Sound, duration_s: float, *, columns: int) -> np.ndarray:
    """``(columns, 2) float32``: lowest and highest sample of equal stretches of ``[0, duration_s)``, read piece by piece.

    Stretches after the sound's end, and those shorter than a sample, are 0.
    """
    edges = np.round(np.linspace(0, duration_s * sound.rate_hz, columns + 1)).astype(int)
    outline = np.zeros((columns, 2), np.float32)
    for column, (start, stop) in enumerate(pairwise(edges)):
        piece = np.asarray(sound.samples[start:stop])
        if len(piece):
            outline[column] = piece.min(), piece.max()
    return outline
