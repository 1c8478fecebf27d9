"""Alignment rate: the share of frames whose objects are those that sound in the truth. Our own definitions.

Specks are dropped from the prediction first: classes below ``min_area_px`` become background, and everything else
follows from what is left. Both sides empty is aligned, one side empty is not. Frames are pooled over all videos.

* ``alignment_set``: the class sets are equal (label maps of several classes only);
* ``alignment_iou@tau``: and every class in the set has an IoU of at least tau;
* ``alignment_binary@tau``: the IoU of "any object" is at least tau;
* ``…@0.05:0.95``: the mean over tau = k/20, k = 1..19.

Each is also split by what the truth shows (silent, one class, several) and by the distance of the frame to the
nearest change of the truth, since that is where misalignment shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import CoPropError
from ..masks.areas import MIN_AREA_SHARE, class_areas, drop_specks, min_area_px
from ..structures import change_flags
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio

TAUS = np.arange(1, 20) / 20  # k/20: 12 * 0.05 is above 0.6 in floating point
STATES = ("silent", "one", "several")
DISTANCES = ("0", "1", "2+", "none")


def any_object_iou(labels: np.ndarray, truth: np.ndarray) -> float:
    """Plain IoU of everything that is not background; 1 where both are empty."""
    mask, wanted = labels > 0, truth > 0
    either = np.count_nonzero(mask | wanted)
    return np.count_nonzero(mask & wanted) / either if either else 1.0


@dataclass(frozen=True)
class FrameAlignment:
    """What the alignment of one frame is decided by.

    Attributes:
        same_set: the class sets are equal.
        worst_class_iou: the smallest IoU of a class in either set, 1 where both are empty.
        binary_iou: of any object, 1 where both are empty, 0 where only one is.
        truth_set: the classes of the truth.
    """

    same_set: bool
    worst_class_iou: float
    binary_iou: float
    truth_set: frozenset[int]

    def at(self, tau: float) -> tuple[bool, bool]:
        """``(alignment_iou@tau, alignment_binary@tau)`` of this frame."""
        return self.same_set and bool(self.worst_class_iou >= tau), bool(self.binary_iou >= tau)


def frame_alignment(labels: np.ndarray, truth: np.ndarray, *, min_area_px: int = 1) -> FrameAlignment:
    """The alignment of one frame's ``(H, W)`` label maps; pixels whose truth is -1 are left out."""
    labels = drop_specks(np.where(truth == -1, 0, labels), min_area_px=min_area_px)
    truth = np.maximum(truth, 0)
    found, wanted, both = (class_areas(x) for x in (labels, truth, labels[labels == truth]))
    overlaps = [
        both.get(c, 0) / (found.get(c, 0) + wanted.get(c, 0) - both.get(c, 0)) for c in found.keys() | wanted.keys()
    ]
    return FrameAlignment(
        same_set=found.keys() == wanted.keys(),
        worst_class_iou=min(overlaps, default=1.0),
        binary_iou=any_object_iou(labels, truth),
        truth_set=frozenset(wanted),
    )


def distance_to_change(flags: np.ndarray) -> list[str]:
    """Of each frame, the distance in frames to the nearest change after frame 0: ``0``, ``1``, ``2+``, or ``none``."""
    changes = np.flatnonzero(flags[1:]) + 1
    if not len(changes):
        return ["none"] * len(flags)
    nearest = np.abs(np.arange(len(flags))[:, None] - changes).min(axis=1)
    return [DISTANCES[min(2, d)] for d in nearest]


@dataclass(frozen=True)
class Alignment(Family):
    """Every alignment rate with its break-downs.

    Attributes:
        tau: the IoU that the headline numbers ask for.
        min_area: of the prediction, as a share of the frame, or whole pixels from 1 on.
    """

    tau: float = 0.5
    min_area: float = MIN_AREA_SHARE
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise CoPropError(f"tau is an IoU in (0, 1], got {self.tau}.")
        min_area_px((1, 1), min_area=self.min_area)

    def open(self, video: VideoInfo) -> _AlignmentVideo:
        return _AlignmentVideo(video, self)

    def names(self) -> tuple[str, ...]:
        """Of the numbers, in the order of the sums' last axis."""
        return (
            "alignment_set",
            f"alignment_iou@{self.tau:g}",
            "alignment_iou@0.05:0.95",
            f"alignment_binary@{self.tau:g}",
            "alignment_binary@0.05:0.95",
        )

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        semantic = (totals["semantic_frames"] > 0).all()
        scores = {}
        for suffix, key in (("", "all"), *((f"/{s}", s) for s in STATES), *((f"/change {d}", d) for d in DISTANCES)):
            for i, name in enumerate(self.names()):
                of_all_frames_only = name.endswith(":0.95") and suffix
                if (semantic or name.startswith("alignment_binary")) and not of_all_frames_only:
                    scores[name + suffix] = ratio(totals[f"aligned/{key}"][:, i], totals[f"frames/{key}"])
        return scores


@dataclass
class _AlignmentVideo:
    video: VideoInfo
    family: Alignment
    frames: dict[int, FrameAlignment] = field(default_factory=dict)

    def add(self, frame: FramePair) -> None:
        least = min_area_px(frame.size, min_area=self.family.min_area)
        self.frames[frame.t] = frame_alignment(frame.labels, frame.truth, min_area_px=least)

    def close(self) -> Sums:
        distances = distance_to_change(self._truth_flags())
        keys = ("all", *STATES, *DISTANCES)
        aligned = {key: np.zeros(len(self.family.names())) for key in keys}
        frames = dict.fromkeys(keys, 0)
        for t, frame in self.frames.items():
            state, rates = STATES[min(2, len(frame.truth_set))], self._rates(frame)
            for key in ("all", state, distances[t]):
                aligned[key] += rates
                frames[key] += 1
        sums: Sums = {"semantic_frames": 0 if self.video.binary else len(self.frames)}
        sums |= {f"aligned/{key}": aligned[key].tolist() for key in keys}
        return sums | {f"frames/{key}": frames[key] for key in keys}

    def _rates(self, frame: FrameAlignment) -> np.ndarray:
        over_taus = np.mean([frame.at(tau) for tau in TAUS], axis=0)
        by_class, binary = frame.at(self.family.tau)
        return np.array([frame.same_set, by_class, over_taus[0], binary, over_taus[1]], float)

    def _truth_flags(self) -> np.ndarray:
        if self.video.truth_flags is not None:
            return self.video.truth_flags
        return flags_of_sets({t: frame.truth_set for t, frame in self.frames.items()}, self.video.num_frames)


def flags_of_sets(sets: Mapping[int, frozenset[int]], num_frames: int) -> np.ndarray:
    """``(T,) bool`` control points of class sets ``t -> set``; a frame that is missing continues the set before it."""
    last = next(iter(sets.values()), frozenset[int]())
    filled = [last := sets.get(t, last) for t in range(num_frames)]
    return change_flags(filled)
