"""How much an object moves, as evidence that it sounds: a stated, bounded weight, never a fitted one.

What strikes, barks or plays mostly moves while it does. Nothing at hand can say how much that is worth: in composed clips
sound and motion are drawn independently of each other, so that the weight fitted there is zero, and the real clips with
masks over time are too few (``benchmarks/candidates.py``). So the user states what it shall be worth.

An object is compared with itself alone: one that always moves, or never does, gets no evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from ..errors import CoPropError
from ..propagators.flow_sources import open_flow
from ..propagators.motion import MotionMasks, MotionRule
from ..structures import Clip
from .objects import Objects

MOST_NATS = 1.0  # that the weight may be: less than half of what an ear may say


@dataclass(frozen=True)
class Moved:
    """Of C objects in T frames.

    Attributes:
        share: ``(T, C)`` of an object's pixels that move, in [0, 1]; NaN where it is not shown.
        ratio: ``(T, C)`` log likelihood ratio that it sounds, at most ``weight`` either way; 0 where it is not shown.
        about: how motion was measured.
    """

    share: np.ndarray
    ratio: np.ndarray
    about: str

    def lines(self, names: Sequence[str]) -> Iterator[str]:
        """What is told of every object."""
        for c, name in enumerate(names):
            known = ~np.isnan(self.share[:, c])
            if not self.ratio[:, c].any():
                moving = f"{100 * float(self.share[known, c].mean()):.0f} %" if known.any() else "nothing"
                yield f"{name}: its motion says nothing ({moving} of it moves where it is shown)"
                continue
            runs = [list(run) for more, run in groupby(range(len(known)), key=lambda t: self.ratio[t, c] > 0) if more]
            where = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
            yield (
                f"{name}: moves more than it mostly does in frames {where} (log likelihood ratios "
                f"{self.ratio[:, c].min():+.2f} to {self.ratio[:, c].max():+.2f})"
            )


@dataclass(frozen=True)
class Movement:
    """Asks how much the objects of a clip move.

    Args:
        weight: nats that one frame may say, from 0 to MOST_NATS.
        masks: the moving pixels; by default DIS with the camera's median motion removed, binary by Otsu's rule, which on
            two real clips under a moving camera alone found what moves.

    Raises:
        CoPropError: another weight.
    """

    weight: float
    masks: MotionMasks = field(default_factory=lambda: MotionMasks(open_flow("dis-steady"), MotionRule("otsu")))

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= MOST_NATS:
            raise CoPropError(
                f"consensus takes motion from 0 (not asked) to {MOST_NATS:g} nats a frame, got {self.weight}: it is a stated "
                "weight, which nothing has been fitted for."
            )

    def ask(self, clip: Clip, objects: Objects) -> Moved:
        """The evidence for each object.

        Raises:
            CoPropError: the source gives no flow for this clip.
        """
        share = np.full(objects.present.shape, np.nan)
        for t, c in zip(*np.nonzero(objects.present), strict=True):
            mask = objects.mask(int(t), int(c)) > 0.5
            if mask.any():
                share[t, c] = self.masks.mask(clip, int(t), mask.shape)[mask].mean()
        return Moved(share, self.weight * compared(share), self.masks.about)


def compared(share: np.ndarray) -> np.ndarray:
    """``(T, C)`` in [-1, 1]: by how much more of an object moves than in the mean of its frames; 0 where it is not shown."""
    known = ~np.isnan(share)
    mean = np.where(known, share, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, share - mean, 0.0)
