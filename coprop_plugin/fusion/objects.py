"""The objects of a base prediction: its classes, or, where all is one foreground, tracks through the frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..masks.areas import min_area_px
from ..masks.probability import probabilities
from ..propagators.base import Propagator
from ..propagators.clip_cache import ClipCache
from ..propagators.flow import Flow
from ..structures import Clip, Prediction


class Objects(Protocol):
    """Which object the base model shows in which frame, and where.

    ``present (T, C) bool``; ``channel(c)`` is the score channel that object c belongs to; ``joined`` is how many
    objects were taken for others because they could not be told apart.
    """

    present: np.ndarray
    joined: int

    def mask(self, t: int, c: int) -> np.ndarray:
        """``(H, W) float32`` probability of object c in frame t; zero where it is not shown."""
        ...

    def channel(self, c: int) -> int: ...

    def name(self, c: int) -> str: ...


def objects_of(clip: Clip, base: Prediction, propagator: Propagator) -> Objects:
    """Classes of a semantic prediction, tracks of a binary one.

    Those of a clip's last prediction are kept while the clip is in use: who asks again under other control points or
    another policy does not wait for them again.
    """
    from .tracks import Tracks

    kept = _LAST.get(clip, "objects")
    if kept is not None and kept[0] is base and kept[1] is propagator:
        return kept[2]
    found: Objects = Tracks(clip, base, follower_of(propagator)) if base.binary else Classes(base)
    _LAST.put(clip, "objects", (base, propagator, found), num_bytes=1)
    return found


def follower_of(propagator: Propagator) -> Propagator:
    """What carries single masks before it is decided what is carried; one with a session wants all tasks of a clip at once."""
    return propagator if propagator.session == "task" else Flow()


MOST_CLIPS = 4
_LAST: ClipCache[tuple[Prediction, Propagator, Objects]] = ClipCache(MOST_CLIPS)  # a "byte" is a clip


class Classes:
    """One object a class."""

    joined = 0

    def __init__(self, base: Prediction) -> None:
        self._base = base
        areas = np.stack([_areas(base.label_map(t), base.class_ids) for t in range(base.num_frames)])
        shown = areas >= min_area_px(base.size)  # smaller specks are no object, by the alignment metrics' rule
        self._channels = np.flatnonzero(shown.any(axis=0)) + 1
        self.present = shown[:, self._channels - 1]

    def mask(self, t: int, c: int) -> np.ndarray:
        return probabilities(self._base, t)[self.channel(c)]

    def channel(self, c: int) -> int:
        return int(self._channels[c])

    def name(self, c: int) -> str:
        class_id = self._base.class_ids[self.channel(c) - 1]
        return self._base.names.get(class_id, f"class {class_id}")


def _areas(labels: np.ndarray, class_ids: tuple[int, ...]) -> np.ndarray:
    """``(K,)`` pixels of each class."""
    return np.bincount(np.maximum(labels, 0).ravel(), minlength=max(class_ids) + 1)[list(class_ids)]
