"""The colours of label maps: AVSBench and DAVIS both use the Pascal-VOC colour map."""

from __future__ import annotations

import numpy as np

from ..errors import CoPropError


def voc_palette(n: int = 256) -> np.ndarray:
    """``(n, 3) uint8`` RGB of the labels 0 to n-1, each with its own colour (n up to 256).

    The bits of a label are dealt to R, G and B in turn, the lowest three to the highest bits of the channels:
    0 is black, 1 (128, 0, 0), 2 (0, 128, 0), 70 (32, 128, 128).
    """
    if not 1 <= n <= 256:
        raise CoPropError(f"a palette has 1 to 256 colours, got {n}.")
    label = np.arange(n)[:, None]
    colours = np.zeros((n, 3), np.int64)
    for group in range(3):
        bits = label >> (3 * group + np.arange(3)) & 1
        colours |= bits << (7 - group)
    return colours.astype(np.uint8)
