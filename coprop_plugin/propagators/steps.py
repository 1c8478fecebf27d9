"""From one frame of a clip to the next: the pictures in between, and displacements along them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np

from ..structures import Clip

P = TypeVar("P")


def pictures_of_step(clip: Clip, t: int, prepared: Callable[[np.ndarray], P], *, max_gap_s: float) -> list[P]:
    """The pictures from frame t to frame t + 1, each ``prepared``; those in between where the video is at hand.

    Args:
        max_gap_s: pictures in between are taken so that steps are about this long; 0 takes none.
    """
    pictures = [prepared(clip.frames[t])]
    start_s, stop_s = clip.time_base.frame_time_s[t : t + 2]
    if clip.between is not None and max_gap_s and stop_s - start_s > 1.5 * max_gap_s:
        inner = [prepared(frame) for frame in clip.between(start_s, stop_s)]
        pictures += _thin(inner, wanted=round((stop_s - start_s) / max_gap_s) - 1)
    return [*pictures, prepared(clip.frames[t + 1])]


def grey_of(frame: np.ndarray, max_side_px: int) -> np.ndarray:
    """``(h, w) uint8`` of an RGB frame, its longer side ``max_side_px`` at most, its shorter one 16 px at least."""
    height, width = frame.shape[:2]
    scale = min(1.0, max_side_px / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return grey if size == (width, height) else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=8)
def grid_of(size: tuple[int, int]) -> np.ndarray:
    """``(h, w, 2) float32``: every pixel's own x and y; read only."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    grid = np.stack([x, y], axis=-1)
    grid.flags.writeable = False
    return grid


def sample(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Bilinear values at ``places (h, w, 2)`` in pixels; the border goes on outside."""
    return cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def _thin(pictures: list[P], *, wanted: int) -> list[P]:
    """About ``wanted`` of the pictures, evenly spread."""
    if len(pictures) <= wanted or wanted < 1:
        return pictures if wanted >= 1 else []
    return [pictures[round((i + 1) * (len(pictures) + 1) / (wanted + 1)) - 1] for i in range(wanted)]
