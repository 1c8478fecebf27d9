"""Labelled intervals of sounds (as RTTM or strong labels give them) as control points of a time base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import CoPropError
from ..structures import ControlPoints, Origin, TimeBase, change_flags

Intervals = Mapping[str, Sequence[Sequence[float]]]
BRIDGED_S = 1.0  # shorter pauses of one source are part of it: barks, revs, breaths


def points_of_intervals(intervals: Intervals, time_base: TimeBase, *, bridged_s: float = BRIDGED_S) -> ControlPoints:
    """Control points where the set of labels changes.

    A source sounds in the frames whose windows' midpoints lie in one of its intervals ``[start, stop)``: so a change
    at s seconds belongs to the first frame whose midpoint is at or after s (on windows of one second, the half-second
    rule). Pauses of one source shorter than ``bridged_s`` are closed first.

    Raises:
        CoPropError: an interval that is not two seconds in order.
    """
    middles_s = time_base.sound_window_s.mean(axis=1)
    sounding = {label: _inside(_bridged(label, pieces, bridged_s), middles_s) for label, pieces in intervals.items()}
    sets = [frozenset(label for label, on in sounding.items() if on[t]) for t in range(len(time_base))]
    names = sorted(sounding)
    flags = change_flags([frozenset(names.index(label) for label in labels) for labels in sets])
    heard = [sets[t] for t in np.flatnonzero(flags)]
    return ControlPoints(
        flags,
        silent=tuple(not labels for labels in heard),
        categories=tuple(tuple(sorted(labels)) for labels in heard),
        origin=Origin("intervals"),
    )


def _bridged(label: str, pieces: Sequence[Sequence[float]], bridged_s: float) -> np.ndarray:
    """``(n, 2)`` intervals in order, short pauses closed."""
    try:
        ordered = np.array(sorted(map(tuple, pieces)), float).reshape(len(pieces), 2)
    except (TypeError, ValueError) as error:
        raise CoPropError(f"intervals of '{label}' are pairs [start_s, stop_s], got {pieces}.") from error
    if not (ordered[:, 0] < ordered[:, 1]).all():
        raise CoPropError(f"intervals of '{label}' start before they stop, got {pieces}.")
    starts, stops = ordered.T
    pause = starts[1:] - np.maximum.accumulate(stops)[:-1] >= bridged_s
    return np.stack([starts[np.append(True, pause)], np.maximum.accumulate(stops)[np.append(pause, True)]], axis=1)


def _inside(intervals: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """``(T,) bool``: which times lie in one of the intervals."""
    on = (times_s[:, None] >= intervals[:, 0] - 1e-9) & (times_s[:, None] < intervals[:, 1] - 1e-9)
    return np.asarray(on.any(axis=1))
