"""On/off patterns of an object within a window of a clip, and how a late or early model shows them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

MAX_UNITS = 10  # 2**10 on/off patterns an object are tried in a window
OVERLAP_UNITS = 4


def unit_bounds(present: np.ndarray, flags: np.ndarray) -> list[int]:
    """Frames at which a state may change: all of them in a short clip, else where something was seen to happen."""
    if len(present) <= MAX_UNITS:
        return list(range(len(present) + 1))
    moved = flags.copy()
    moved[1:] |= (present[1:] != present[:-1]).any(axis=1)
    return [*np.flatnonzero(moved).tolist(), len(present)]


def windows_of(bounds: list[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
    """Windows of units with the frames that each decides: ``(unit bounds, (start, stop))``."""
    units = len(bounds) - 1
    step = MAX_UNITS - OVERLAP_UNITS
    first = 0
    while True:
        last = min(first + MAX_UNITS, units)
        start = bounds[first if first == 0 else first + OVERLAP_UNITS // 2]
        stop = bounds[last if last == units else last - OVERLAP_UNITS // 2]
        yield tuple(bounds[first : last + 1]), (start, stop)
        if last == units:
            return
        first += step


@lru_cache(maxsize=16)
def unit_patterns(units: int) -> tuple[np.ndarray, np.ndarray]:
    """Every on/off pattern ``(2**units, units) float32``, and where it changes ``(2**units, units - 1)``."""
    on = (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(np.float32)
    return on, np.abs(np.diff(on, axis=1))


@lru_cache(maxsize=128)
def shifted_patterns(starts: tuple[int, ...], onset: int, offset: int) -> np.ndarray:
    """``(P, T) float32``: every pattern as a model shows it whose onsets and offsets come late (negative: early).

    ``starts`` are the unit bounds; before the first and after the last frame states go on as they are.
    """
    states = np.repeat(unit_patterns(len(starts) - 1)[0] > 0, np.diff(starts), axis=1)
    num_frames = states.shape[1]

    def later(frames: int) -> np.ndarray:
        return states[:, np.clip(np.arange(num_frames) - frames, 0, num_frames - 1)]

    shown = later(onset)
    for frames in range(min(onset, offset), max(onset, offset) + 1):
        # Offsets after onsets lengthen every interval, before them they shorten it.
        shown = shown | later(frames) if offset > onset else shown & later(frames)
    return shown.astype(np.float32)
