"""The numbers of a comparison: one of a method on a subset, one of a class, one of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..metrics.bootstrap import Difference
from ..metrics.scores import label


@dataclass(frozen=True)
class Row:
    """One number of one method on one subset, before and after; shares in percent.

    Attributes:
        method, subset, protocol, metric, unit: what the number is.
        masks: where hard masks make it another number (``M_F``): of what it is; only rows of one ``masks`` compare.
        videos: how many the subset has for this method.
        before, after: values, ``None`` where not defined.
        difference: with its interval and tests over videos, in the number's own scale (``None``: the protocol scores
            several videos together, so that a bootstrap over videos means nothing).
    """

    method: str
    subset: str
    protocol: str
    metric: str
    unit: str
    videos: int
    before: float | None
    after: float | None
    difference: Difference | None
    masks: str = ""

    @property
    def name(self) -> str:
        """The metric's name where only a name can be printed."""
        return label(self.metric, self.masks)

    @property
    def scale(self) -> int:
        return 100 if self.unit == "%" else 1

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the change, in the row's unit."""
        d = self.difference
        if d is None or math.isnan(d.low):
            return None
        return self.scale * d.low, self.scale * d.high

    @property
    def headline(self) -> bool:
        """Whether the number is no part of another."""
        return "/" not in self.metric


@dataclass(frozen=True)
class ClassRow:
    """One class of one method, in percent; ``frames`` in which truth or refined masks show it."""

    method: str
    protocol: str
    class_id: int
    name: str
    frames: int
    before_j: float | None
    after_j: float | None
    before_f: float | None
    after_f: float | None


@dataclass(frozen=True)
class VideoChange:
    """A video's first number (``metric`` under ``protocol``), before and after in percent, and its edited frames."""

    method: str
    video: str
    before: float
    after: float
    changed_frames: int

    @property
    def change(self) -> float:
        return self.after - self.before
