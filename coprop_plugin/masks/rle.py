"""COCO's run-length codes of a mask, from untrusted files: sizes are checked before anything is unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PredictionError

MAX_PIXELS = 64_000_000
_MAX_GROUPS = 6  # of 5 bits; runs of up to MAX_PIXELS need no more


def decode_rle(code: Any, *, what: str = "the mask") -> np.ndarray:
    """``(H, W) bool`` of ``{"size": [H, W], "counts": …}``.

    Runs of zeros and ones in turn, zeros first, down the columns; ``counts`` is a list of lengths, or COCO's text of it.

    Args:
        what: how messages call it.

    Raises:
        PredictionError: no such code, too large, or runs that do not make up the mask.
    """
    if not isinstance(code, Mapping) or not {"size", "counts"} <= code.keys():
        kind = "polygons" if isinstance(code, list) else f"a {type(code).__name__}"
        raise PredictionError(
            f"{what}: is no run-length code {{'size': [H, W], 'counts': …}} but {kind}; polygons are not read, convert "
            "them (pycocotools: maskUtils.frPyObjects)."
        )
    height, width = _size(code["size"], what)
    counts = code["counts"]
    runs = _runs_of_text(counts, what) if isinstance(counts, str | bytes) else _runs_of_list(counts, what)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise PredictionError(f"{what}: its runs do not add up to {height}x{width} pixels; the code is damaged.")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(width, height).T


def _size(size: Any, what: str) -> tuple[int, int]:
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(isinstance(side, int) and side > 0 for side in size)
        or size[0] * size[1] > MAX_PIXELS
    ):
        raise PredictionError(f"{what}: its size is {str(size)[:40]}; [H, W] of at most {MAX_PIXELS} pixels are read.")
    return size[0], size[1]


def _runs_of_list(counts: Any, what: str) -> list[int]:
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise PredictionError(f"{what}: its counts are neither a list of integers nor COCO's text.")
    return counts


def _runs_of_text(text: str | bytes, what: str) -> list[int]:
    """Each length as groups of five bits from the lowest on; from the fourth on less the length two before."""
    runs: list[int] = []
    value, groups = 0, 0
    for char in text.encode("latin-1", "replace") if isinstance(text, str) else text:
        bits = char - 48
        if not 0 <= bits < 64 or groups >= _MAX_GROUPS:
            raise PredictionError(f"{what}: its text is no run-length code.")
        value |= (bits & 31) << 5 * groups
        groups += 1
        if bits & 32:  # more follow
            continue
        if bits & 16:
            value -= 1 << 5 * groups
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, groups = 0, 0
    if groups:
        raise PredictionError(f"{what}: its text ends within a number; the code is cut off.")
    return runs
