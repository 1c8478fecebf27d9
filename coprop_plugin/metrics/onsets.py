"""When objects start and stop: the error of predicted onsets and offsets, in frames and seconds. Our own definition.

An onset of a class is a frame that shows it after one that did not, an offset the reverse; frame 0 starts nothing.
Within a class and kind, true and predicted events are paired one to one so that the total distance is least, and
pairs further apart than ``within_frames`` are taken apart again: one event missed and one spurious.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import CoPropError
from ..masks.areas import MIN_AREA_SHARE, class_areas, min_area_px
from .frames import FramePair, VideoInfo
from .sums import Family, Sums, ratio

KINDS = ("onset", "offset")


def events(sets: Sequence[frozenset[int]], class_id: int) -> dict[str, list[int]]:
    """Places in ``sets`` where a class starts and stops to be shown."""
    shown = np.array([class_id in s for s in sets], int)
    step = np.diff(shown)
    return {"onset": (np.flatnonzero(step > 0) + 1).tolist(), "offset": (np.flatnonzero(step < 0) + 1).tolist()}


def paired(predicted: Sequence[int], true: Sequence[int], *, within_frames: int) -> list[int]:
    """Predicted minus true frame of each pair (positive: too late)."""
    difference = np.subtract.outer(np.array(predicted, int), np.array(true, int))
    from scipy.optimize import linear_sum_assignment  # costs a second to import, and most runs score nothing

    rows, columns = linear_sum_assignment(np.minimum(np.abs(difference), within_frames + 1))
    return [int(d) for d in difference[rows, columns] if abs(d) <= within_frames]


@dataclass(frozen=True)
class Onsets(Family):
    """Mean error and bias of onsets and offsets, and the share that is missed or spurious.

    Attributes:
        within_frames: the largest error of a pair.
        min_area: of a predicted class, as a share of the frame, or pixels from 1 on.
    """

    within_frames: int = 3
    min_area: float = MIN_AREA_SHARE
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.within_frames < 0:
            raise CoPropError(f"within is the largest error of a pair in frames, 0 or more; got {self.within_frames}.")
        min_area_px((1, 1), min_area=self.min_area)

    def open(self, video: VideoInfo) -> _OnsetsVideo:
        return _OnsetsVideo(video, self)

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        scores = {}
        for kind in KINDS:
            pairs = totals[f"{kind}/pairs"]
            scores[f"{kind}_error_frames"] = ratio(totals[f"{kind}/error"], pairs)
            scores[f"{kind}_lag_frames"] = ratio(totals[f"{kind}/lag"], pairs)
            scores[f"{kind}_error_s"] = ratio(totals[f"{kind}/error_s"], totals[f"{kind}/pairs_s"])
            scores[f"{kind}_missed"] = 1 - ratio(pairs, totals[f"{kind}/true"])
            scores[f"{kind}_spurious"] = 1 - ratio(pairs, totals[f"{kind}/predicted"])
        return scores


@dataclass
class _OnsetsVideo:
    video: VideoInfo
    family: Onsets
    frames: list[int] = field(default_factory=list)
    predicted: list[frozenset[int]] = field(default_factory=list)
    true: list[frozenset[int]] = field(default_factory=list)

    def add(self, frame: FramePair) -> None:
        labels = frame.labels if frame.valid is None else np.where(frame.valid, frame.labels, 0)
        least = min_area_px(frame.size, min_area=self.family.min_area)
        self.frames.append(frame.t)
        self.predicted.append(frozenset(c for c, area in class_areas(labels).items() if area >= least))
        self.true.append(frozenset(class_areas(np.maximum(frame.truth, 0))))

    def close(self) -> Sums:
        sums: Sums = {f"{kind}/{name}": 0 for kind in KINDS for name in _SUMS}
        for c in sorted(frozenset().union(*self.predicted, *self.true)):
            found, wanted = events(self.predicted, c), events(self.true, c)
            for kind in KINDS:
                for name, value in self._of_class(found[kind], wanted[kind]).items():
                    sums[f"{kind}/{name}"] += value
        return sums

    def _of_class(self, found: list[int], wanted: list[int]) -> dict[str, float]:
        predicted, true = ([self.frames[i] for i in places] for places in (found, wanted))
        lags = paired(predicted, true, within_frames=self.family.within_frames)
        error, frame_s = sum(map(abs, lags)), self.video.frame_s
        seconds = (0, 0) if frame_s is None else (error * frame_s, len(lags))
        values = (len(lags), error, sum(lags), len(predicted), len(true), *seconds)
        return dict(zip(_SUMS, values, strict=True))


_SUMS = ("pairs", "error", "lag", "predicted", "true", "error_s", "pairs_s")
