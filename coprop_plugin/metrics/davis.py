"""DAVIS' region similarity J and contour accuracy F, as its 2017 evaluation computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from ..errors import CoPropError
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio


def region_j(mask: np.ndarray, truth: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """IoU of two ``(H, W) bool`` masks outside ``void``; 1 where both are empty."""
    mask, truth = _without(mask, void), _without(truth, void)
    either = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / either if either else 1.0


def contour_f(mask: np.ndarray, truth: np.ndarray, *, void: np.ndarray | None = None, bound_th: float = 0.008) -> float:
    """F of the boundaries of two ``(H, W) bool`` masks, matched within a distance.

    Args:
        mask, truth: what is compared; ``void`` pixels are removed from both first.
        bound_th: the distance: a share of the image's diagonal (rounded up), or pixels from 1 on.

    A mask without any boundary (empty, or all of the image) against one with a boundary gives 0; none against none
    gives 1, also where one is empty and the other full.
    """
    radius_px = int(bound_th) if bound_th >= 1 else int(np.ceil(bound_th * np.hypot(*mask.shape)))
    found, wanted = boundary(_without(mask, void)), boundary(_without(truth, void))
    num_found, num_wanted = np.count_nonzero(found), np.count_nonzero(wanted)
    if not num_found or not num_wanted:
        return float(num_found == num_wanted)
    precision = np.count_nonzero(found & _dilate(wanted, radius_px)) / num_found
    recall = np.count_nonzero(wanted & _dilate(found, radius_px)) / num_wanted
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """``(H, W) bool``: pixels that differ from their right, lower or lower right neighbour (inside the image)."""
    edge = np.zeros(mask.shape, bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall (share above 0.5) and decay (first quarter's mean minus the last's) over the frames ``(T,)``.

    Neighbouring quarters share their border frame, as published.
    """
    borders = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    quarters = [values[borders[i] : borders[i + 1] + 1].mean() for i in (0, 3)]
    return float(values.mean()), float((values > 0.5).mean()), float(quarters[0] - quarters[1])


@dataclass(frozen=True)
class Davis(Family):
    """J and F of every object, averaged over objects: each class that the truth of a video shows is one.

    Attributes:
        frames: ``all``, or ``inner``: without the first and the last, as the semi-supervised benchmark has it.
        bound_th: see :func:`contour_f`.
    """

    frames: Literal["all", "inner"] = "all"
    bound_th: float = 0.008
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.frames not in ("all", "inner"):
            raise CoPropError(f"davis counts the frames 'all' or 'inner', not '{self.frames}'.")

    def open(self, video: VideoInfo) -> _DavisVideo:
        return _DavisVideo(video, self)

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        means = {name: ratio(totals[name], totals["objects"]) for name in _NAMES}
        return {"J&F": (means["J"] + means["F"]) / 2, **means}


_NAMES = ("J", "J/recall", "J/decay", "F", "F/recall", "F/decay")


@dataclass
class _DavisVideo:
    video: VideoInfo
    family: Davis
    shown: set[int] = field(default_factory=set)  # classes of the truth
    scores: list[dict[int, tuple[float, float]]] = field(default_factory=list)  # per frame: class -> J, F

    def add(self, frame: FramePair) -> None:
        if self.family.frames == "inner" and frame.t in (0, self.video.num_frames - 1):
            return
        void = None if frame.valid is None else ~frame.valid
        present = {int(c) for c in np.union1d(frame.truth, frame.labels) if c > 0}
        self.shown |= {int(c) for c in np.unique(frame.truth) if c > 0}
        self.scores.append({c: self._score(frame.labels == c, frame.truth == c, void) for c in present})

    def _score(self, mask: np.ndarray, truth: np.ndarray, void: np.ndarray | None) -> tuple[float, float]:
        return region_j(mask, truth, void=void), contour_f(mask, truth, void=void, bound_th=self.family.bound_th)

    def close(self) -> Sums:
        sums = np.zeros(len(_NAMES))
        for c in sorted(self.shown):
            j, f = np.array([frame.get(c, (1.0, 1.0)) for frame in self.scores]).T  # absent in both: 1
            sums += (*statistics(j), *statistics(f))
        return {**dict(zip(_NAMES, sums.tolist(), strict=True)), "objects": len(self.shown)}


def _without(mask: np.ndarray, void: np.ndarray | None) -> np.ndarray:
    return mask if void is None else mask & ~void


def _dilate(edge: np.ndarray, radius_px: int) -> np.ndarray:
    """``(H, W) bool``: pixels within the radius of an edge pixel."""
    reach = np.arange(-radius_px, radius_px + 1) ** 2
    disk = (reach[:, None] + reach <= radius_px**2).astype(np.uint8)
    return cv2.dilate(edge.astype(np.uint8), disk).astype(bool)
