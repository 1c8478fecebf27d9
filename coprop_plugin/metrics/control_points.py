"""Precision, recall and F1 of control points within a tolerance, and how lists do as a whole.

Frame 0 always is a control point and is left out. Predicted and true changes of a video are matched one to one within
``tolerance`` frames, as many as possible, and pooled over videos. Nothing to find and nothing found is 1, 1, 1;
with changes on one side only, the undefined one of precision and recall is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import CoPropError
from ..masks.areas import MIN_AREA_SHARE, class_areas, min_area_px
from .alignment import flags_of_sets
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio

TOLERANCES = (0, 1, 2)


def changes(flags: Sequence[bool] | np.ndarray) -> list[int]:
    """The control points after frame 0."""
    return [int(t) for t in np.flatnonzero(flags) if t]


def matches(predicted: Sequence[int], true: Sequence[int], *, tolerance: int) -> int:
    """The largest number of one-to-one pairs of ascending frames at most ``tolerance`` apart.

    On a line, pairing the earliest that fit is optimal.
    """
    i = j = pairs = 0
    while i < len(predicted) and j < len(true):
        if abs(predicted[i] - true[j]) <= tolerance:
            i, j, pairs = i + 1, j + 1, pairs + 1
        elif predicted[i] < true[j]:
            i += 1
        else:
            j += 1
    return pairs


def list_sums(predicted: np.ndarray, true: np.ndarray, *, tolerances: Sequence[int] = TOLERANCES) -> Sums:
    """The sums of one video from its flags ``(T,)``.

    Raises:
        CoPropError: the lists differ in length.
    """
    if len(predicted) != len(true):
        raise CoPropError(f"control points of {len(predicted)} frames against a truth of {len(true)} frames.")
    found, wanted = changes(predicted), changes(true)
    table = np.zeros((2, 2), int)  # [truth has a change, prediction has one]
    table[int(bool(wanted)), int(bool(found))] = 1
    return {
        "matches": [matches(found, wanted, tolerance=d) for d in tolerances],
        "predicted": len(found),
        "true": len(wanted),
        "exact": int(found == wanted),
        "any_change": table.tolist(),
    }


def point_scores(totals: Mapping[str, np.ndarray], *, tolerances: Sequence[int] = TOLERANCES) -> dict[str, np.ndarray]:
    """The numbers from sums with a leading axis: P, R, F1 per tolerance, exact lists, the any-change table."""
    predicted, true = totals["predicted"], totals["true"]
    neither = (predicted == 0) & (true == 0)
    scores: dict[str, np.ndarray] = {}
    for i, tolerance in enumerate(tolerances):
        pairs = totals["matches"][:, i]
        precision, recall = (np.where(neither, 1.0, np.nan_to_num(ratio(pairs, n), nan=0.0)) for n in (predicted, true))
        scores[f"F1@{tolerance}"] = np.nan_to_num(ratio(2 * precision * recall, precision + recall), nan=0.0)
        scores[f"precision@{tolerance}"], scores[f"recall@{tolerance}"] = precision, recall
    table = totals["any_change"]
    videos = table.sum(axis=(1, 2))
    hit_rates = np.stack([ratio(table[:, k, k], table[:, k].sum(axis=1)) for k in (0, 1)])
    return scores | {
        "exact_list": ratio(totals["exact"], videos),
        "any_change/accuracy": ratio(table[:, 0, 0] + table[:, 1, 1], videos),
        "any_change/balanced_accuracy": hit_rates.mean(axis=0),
        **{f"any_change/{name}": table[:, g, p] for name, g, p in _CELLS},
        "changes_predicted": predicted,
        "changes_true": true,
    }


_CELLS = (
    ("true_and_predicted", 1, 1),
    ("only_true", 1, 0),
    ("only_predicted", 0, 1),
    ("neither", 0, 0),
)


@dataclass(frozen=True)
class ControlPointScores(Family):
    """Predicted control points, or those of the predicted masks where none are given, against the truth's.

    Attributes:
        min_area: of a predicted class, as a share of the frame, or pixels from 1 on; counts where the points follow from masks.
    """

    min_area: float = MIN_AREA_SHARE
    size: tuple[int, int] | None = None

    counts: ClassVar = frozenset({f"any_change/{name}" for name, *_ in _CELLS} | {"changes_predicted", "changes_true"})

    def __post_init__(self) -> None:
        min_area_px((1, 1), min_area=self.min_area)

    def open(self, video: VideoInfo) -> _PointsVideo:
        return _PointsVideo(video, self)

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return point_scores(totals)


@dataclass
class _PointsVideo:
    video: VideoInfo
    family: ControlPointScores
    predicted: dict[int, frozenset[int]] = field(default_factory=dict)
    true: dict[int, frozenset[int]] = field(default_factory=dict)

    def add(self, frame: FramePair) -> None:
        self.true[frame.t] = frozenset(class_areas(np.maximum(frame.truth, 0)))
        if self.video.flags is None:
            least = min_area_px(frame.size, min_area=self.family.min_area)
            labels = frame.labels if frame.valid is None else np.where(frame.valid, frame.labels, 0)
            self.predicted[frame.t] = frozenset(c for c, area in class_areas(labels).items() if area >= least)

    def close(self) -> Sums:
        flags, truth_flags, frames = self.video.flags, self.video.truth_flags, self.video.num_frames
        predicted = flags_of_sets(self.predicted, frames) if flags is None else flags
        true = flags_of_sets(self.true, frames) if truth_flags is None else truth_flags
        return list_sums(predicted, true)
