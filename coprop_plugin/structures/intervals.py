"""Stretches of time in which a source sounds, and what they say of frames: one rule for truth made and truth read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .time_base import TimeBase

BRIDGED_S = 1.0  # shorter pauses of one source are part of it: barks, revs, breaths


def bridged(pieces: Sequence[Sequence[float]], bridged_s: float = BRIDGED_S) -> np.ndarray:
    """``(n, 2)`` intervals ``[start_s, stop_s)`` in order, those that overlap or lie less than ``bridged_s`` apart made one.

    Raises:
        ValueError: an interval that is not two seconds in order.
    """
    ordered = np.array(sorted(map(tuple, pieces)), float).reshape(len(pieces), 2)
    if not (ordered[:, 0] < ordered[:, 1]).all():
        raise ValueError(f"intervals start before they stop, got {pieces}")
    if not len(ordered):
        return ordered
    starts, stops = ordered.T
    pause = starts[1:] - np.maximum.accumulate(stops)[:-1] >= bridged_s
    return np.stack([starts[np.append(True, pause)], np.maximum.accumulate(stops)[np.append(pause, True)]], axis=1)


def sounding_frames(intervals: np.ndarray, time_base: TimeBase) -> np.ndarray:
    """``(T,) bool``: the frames whose windows' midpoints lie in one of the intervals ``(n, 2)``.

    So a change at s seconds belongs to the first frame whose midpoint is at or after s.
    """
    middles_s = time_base.sound_window_s.mean(axis=1)[:, None]
    on = (middles_s >= intervals[:, 0] - 1e-9) & (middles_s < intervals[:, 1] - 1e-9)
    return np.asarray(on.any(axis=1))
