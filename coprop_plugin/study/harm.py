"""Harm beside means: which clips a method made worse, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from ..errors import CoPropError

WORSE_BY = 0.01  # a loss of more than one point of a score in [0, 1] is harm
TAIL_SHARE = 0.05
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Harm:
    """What a method did to the clips that it served worst; shares and scores in [0, 1].

    Attributes:
        clips: how many there were.
        worse: the share that lost more than :data:`WORSE_BY`, with its 95 % Wilson interval ``worse_low, worse_high``.
        worst: the largest loss (negative), or the smallest gain; ``worst_clip`` is where.
        tail: the mean change of the worst 5 % of the clips (at least one).
        harmed: the clips that lost more than :data:`WORSE_BY`, the worst first, with their changes.
    """

    clips: int
    worse: float
    worse_low: float
    worse_high: float
    worst: float
    worst_clip: str
    tail: float
    harmed: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def harm(before: Sequence[float], after: Sequence[float], names: Sequence[str]) -> Harm:
    """The harm of a method from one score a clip, before and after.

    Raises:
        CoPropError: no clips, or not one score of each kind a clip.
    """
    change = np.asarray(after, float) - np.asarray(before, float)
    if change.ndim != 1 or not len(change) or len(change) != len(names):
        raise CoPropError(f"harm needs one score a clip, got {change.shape} of {len(names)} clips.")
    order = np.argsort(change, kind="stable")
    harmed = [(names[i], float(change[i])) for i in order if change[i] < -WORSE_BY]
    low, high = wilson(len(harmed), len(change))
    tail = change[order[: ceil(TAIL_SHARE * len(change))]].mean()
    worst = int(order[0])
    return Harm(
        len(change),
        len(harmed) / len(change),
        low,
        high,
        float(change[worst]),
        names[worst],
        float(tail),
        tuple(harmed),
    )


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share."""
    share, z2 = count / total, NORMAL_95**2
    middle, width = share + z2 / (2 * total), NORMAL_95 * sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, (middle - width) / (1 + z2 / total)), min(1.0, (middle + width) / (1 + z2 / total))
