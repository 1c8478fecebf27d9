"""Frames in which a semantic base model gave its masks to each other's classes: no edit by classes can mend them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip
from .objects import Objects

COVERED = 0.5  # of where an object should be shows another one: the names are exchanged there


class Gap(Protocol):
    """Frames ``[start, stop)`` in which an object is missing, though it is shown at ``anchor``."""

    @property
    def object(self) -> int: ...

    @property
    def anchor(self) -> int: ...

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int: ...


def mixed_frames(
    clip: Clip, objects: Objects, sounding: np.ndarray, gaps: Iterable[Gap], follower: Propagator
) -> np.ndarray:
    """``(T,) bool``: where a missing object should be is, for the most part, one that is shown and should be.

    There the missing object is not missing: it bears another one's name, and that one's mask lies somewhere else under a
    third name. To bring the one back and to erase the other would lose what the model does show.

    Args:
        clip: the frames.
        objects: who is shown where.
        sounding: ``(T, C) bool``, who should be shown.
        gaps: what is missing.
        follower: carries a mask to the frames of its gap.
    """
    mixed = np.zeros(len(sounding), bool)
    kept = objects.present & sounding
    for gap in gaps:
        own = objects.mask(gap.anchor, gap.object)
        start, stop = min(gap.anchor, gap.start), max(gap.anchor + 1, gap.stop)
        task = PropagationTask(start, stop, gap.anchor, np.stack([1 - own, own]))
        for _, masks in follower.carry(clip, [task]):
            for t in range(gap.start, gap.stop):
                here = masks[t - start, 1] > 0.5
                shown = [objects.mask(t, int(c)) > 0.5 for c in np.flatnonzero(kept[t])]
                mixed[t] |= any((here & there).sum() >= COVERED * here.sum() > 0 for there in shown)
    return mixed
