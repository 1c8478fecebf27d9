"""Labelled intervals of sounds (as RTTM or strong labels give them) as control points of a time base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import CoPropError
from ..structures import ControlPoints, Origin, TimeBase, change_flags
from ..structures.intervals import BRIDGED_S, bridged, sounding_frames

Intervals = Mapping[str, Sequence[Sequence[float]]]


def points_of_intervals(intervals: Intervals, time_base: TimeBase, *, bridged_s: float = BRIDGED_S) -> ControlPoints:
    """Control points where the set of labels changes.

    A source sounds in the frames whose windows' midpoints lie in one of its intervals ``[start, stop)``: so a change
    at s seconds belongs to the first frame whose midpoint is at or after s (on windows of one second, the half-second
    rule). Pauses of one source shorter than ``bridged_s`` are closed first.

    Raises:
        CoPropError: an interval that is not two seconds in order.
    """
    sounding = {
        label: sounding_frames(_bridged(label, pieces, bridged_s), time_base) for label, pieces in intervals.items()
    }
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
        return bridged(pieces, bridged_s)
    except (TypeError, ValueError) as error:
        raise CoPropError(f"intervals of '{label}' are pairs [start_s, stop_s] in order, got {pieces}.") from error
