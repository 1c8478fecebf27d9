"""The colours of label maps, and the way back to labels: AVSBench and DAVIS both use the Pascal-VOC colour map."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
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


def indexed_values(indices: np.ndarray, colours: np.ndarray) -> np.ndarray | None:
    """``(H, W) uint8`` what an indexed picture holds by its colours, or ``None`` where they do not tell.

    Editors and image libraries write palettes in any order (the most frequent colour first, the brightest first), so
    an index means something only where its colour agrees: the colour map of Pascal VOC or a grey ramp in their own
    order are taken as they are; black and white are 0 and 255, and colours of Pascal VOC their labels, at any index.

    Args:
        indices: ``(H, W) uint8``.
        colours: ``(n, 3) uint8`` palette; those of unused indices do not count.
    """
    used = np.flatnonzero(np.bincount(indices.reshape(-1), minlength=1))
    if used[-1] >= len(colours):
        return None
    shown = colours[used]
    if np.array_equal(shown, voc_palette()[used]) or np.array_equal(shown, np.repeat(used, 3).reshape(-1, 3)):
        return indices
    meaning = {tuple(colour): label for label, colour in enumerate(voc_palette().tolist())} | {(255, 255, 255): 255}
    labels = [meaning[tuple(colour)] for colour in shown.tolist() if tuple(colour) in meaning]
    if len(labels) < len(used):
        return None
    lookup = np.zeros(256, np.uint8)
    lookup[used] = labels
    return np.take(lookup, indices)


def colours_to_labels(
    rgb: np.ndarray, palette: np.ndarray, *, unknown: Literal["background", "error"] = "background"
) -> np.ndarray:
    """``(H, W) uint8`` index of each colour in the palette (AVSBench-semantic's colour masks).

    Args:
        rgb: ``(H, W, 3) uint8``.
        palette: ``(n, 3) uint8`` distinct colours, n up to 256.
        unknown: a colour outside the palette becomes background, as published loaders have it, or is an error.

    Raises:
        CoPropError: wrong shapes or types; with ``unknown="error"``, a colour outside the palette.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise CoPropError(f"a colour mask is (H, W, 3) uint8, got {rgb.dtype} {rgb.shape}.")
    palette = np.asarray(palette)
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.dtype != np.uint8 or len(palette) > 256:
        raise CoPropError(f"a palette is (n, 3) uint8 with n up to 256, got {palette.dtype} {palette.shape}.")
    codes = colour_codes(rgb)
    labels = np.take(_colour_table(palette.tobytes()), codes)
    if unknown == "error" and (stray := np.take(colour_codes(palette[None])[0], labels) != codes).any():
        colours = np.unique(rgb[stray], axis=0)
        raise CoPropError(
            f"the colour mask holds {len(colours)} colours outside the palette, the first {tuple(colours[0].tolist())}; "
            "was it resized or saved lossily? Save it unresized as PNG."
        )
    return labels


@lru_cache(maxsize=2)  # 16 MB a palette
def _colour_table(palette: bytes) -> np.ndarray:
    """Label of each of the 2^24 colours; of equal colours in the palette the first one's."""
    colours = np.frombuffer(palette, np.uint8).reshape(1, -1, 3)
    table = np.zeros(1 << 24, np.uint8)
    table[colour_codes(colours)[0][::-1]] = np.arange(colours.shape[1], dtype=np.uint8)[::-1]
    return table


def colour_codes(rgb: np.ndarray) -> np.ndarray:
    """``(H, W) int32``: each ``uint8`` colour as one number, red in the lowest byte."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view(np.int32)[..., 0] & 0xFFFFFF
