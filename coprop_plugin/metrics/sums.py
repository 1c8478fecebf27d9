"""The form that all families of numbers share: frames -> the sums of a video -> values of all videos.

Every number here is a function of sums over videos. So scores of shards merge by joining their videos, a stored
score goes on where it stopped, and a bootstrap draws videos and adds their sums up. The sums of all videos are
taken exactly (``math.fsum``): their order, and how the work was cut, change no digit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from .curves import Curves, column
from .frames import FramePair, VideoInfo

Sums = dict[str, Any]
"""Name -> a number or lists of numbers, JSON as it stands; each name has the same shape in every video."""


class VideoSums(Protocol):
    """What a family gathers from one video, frame after frame (frames without a truth are never added)."""

    def add(self, frame: FramePair) -> None: ...

    def close(self) -> Sums: ...


class Family(ABC):
    """One family of numbers: how to sum up a video, and what the sums of all videos mean.

    Attributes:
        size: ``(height, width)`` at which frames are compared; ``None`` for the truth's own.
        counts: the names of values that are whole numbers, not shares.
        since: the format of stored scores since which the family's sums mean what they mean now.
    """

    size: tuple[int, int] | None = None
    counts: ClassVar[frozenset[str]] = frozenset()
    since: ClassVar[int] = 1

    @abstractmethod
    def open(self, video: VideoInfo) -> VideoSums:
        """Start a video."""

    @abstractmethod
    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Name -> ``(B,)`` value, NaN where it is not defined, from totals with a leading axis B of draws."""

    def rows(self, videos: Sequence[Sums]) -> list[Sums]:
        """The units that are added up: the videos, unless a protocol scores several together."""
        return list(videos)

    def one_row_a_video(self) -> bool:
        """Whether videos are the units, so that a bootstrap over videos means something."""
        return True

    def sweeps_scores(self) -> bool:
        """Whether ``M_F`` sweeps thresholds over the scores, so that it is another number for hard masks."""
        return False

    def swept(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of its numbers that are others for hard masks."""
        return tuple(name for name in names if "M_F" in name) if self.sweeps_scores() else ()


def stack(rows: Sequence[Sums]) -> dict[str, np.ndarray | Curves]:
    """Name -> ``(N, …) float64`` of N rows, as curves where these are shorter."""
    return {name: column([row[name] for row in rows]) for name in rows[0]}


def totals(rows: Sequence[Sums]) -> dict[str, np.ndarray]:
    """Name -> ``(1, …) float64``: the exact sum over the rows, rounded once."""
    return {name: exact_sum(values)[None] for name, values in stack(rows).items()}


def exact_sum(values: np.ndarray | Curves) -> np.ndarray:
    """The sum over the first axis, the same whatever the order."""
    if isinstance(values, Curves):
        return values.exact_sum()
    columns = values.reshape(len(values), -1).T
    # one column after the other: as Python numbers all of them would take four times the memory of the array
    return np.array([math.fsum(one.tolist()) for one in columns]).reshape(values.shape[1:])


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, NaN where nothing was counted."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
