"""How much of a frame a class covers, and what is too small to count."""

from __future__ import annotations

import numpy as np

from ..errors import CoPropError

MIN_AREA_SHARE = 0.001  # of the frame, for predictions; one pixel of a truth counts, it was annotated on purpose


def min_area_px(size: tuple[int, int], *, min_area: float = MIN_AREA_SHARE) -> int:
    """A share of the frame in whole pixels, rounded up, at least 1; from 1 on ``min_area`` is pixels already.

    Raises:
        CoPropError: it is negative.
    """
    if min_area < 0:
        raise CoPropError(f"min_area is a share of the frame below 1, or pixels from 1 on; got {min_area}.")
    if min_area >= 1:
        return int(min_area)
    return max(1, int(np.ceil(min_area * size[0] * size[1] - 1e-9)))


def class_areas(labels: np.ndarray) -> dict[int, int]:
    """Foreground class -> its pixels, of an integer label map without negative values."""
    if labels.max(initial=0) <= 1:  # ten times as fast as counting every label
        return {1: area} if (area := int(np.count_nonzero(labels))) else {}
    counts = np.bincount(labels.ravel())
    return {int(c): int(counts[c]) for c in np.flatnonzero(counts) if c}


def drop_specks(labels: np.ndarray, *, min_area_px: int) -> np.ndarray:
    """``(H, W)`` labels whose classes with fewer pixels have become background."""
    specks = [c for c, area in class_areas(labels).items() if area < min_area_px]
    return np.where(np.isin(labels, specks), 0, labels) if specks else labels
