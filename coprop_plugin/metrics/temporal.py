"""Temporal consistency: flicker beyond the truth's own motion, silent frames, VC_n inside portions, STQ.

A portion is the frames between two control points of the truth's class sets. Consistency is asked for inside portions
only: a model that never changes its mask would win otherwise, and that is the misalignment to be measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..masks.areas import class_areas
from .alignment import any_object_iou
from .class_counts import confusion
from .frames import FramePair, VideoInfo
from .semantic import channels_of, mean_of_defined
from .sums import Family, Sums, ratio

WINDOWS = (2, 3)  # frames of VC_n: clips have 5 or 10 frames


def flicker(labels: np.ndarray, *, pairs: Sequence[int]) -> float | None:
    """Mean of ``1 - IoU`` of any object between frame t and t - 1 of ``(T, H, W)`` labels; ``None`` without pairs.

    Args:
        pairs: the later frames t of the pairs that count.
    """
    values = [1 - any_object_iou(labels[t], labels[t - 1]) for t in pairs]
    return float(np.mean(values)) if values else None


def window_consistency(labels: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """VC of one window of ``(H, W)`` label maps: of the pixels whose truth stays, the share whose label stays.

    The label that stays need not be the right one (as published). NaN where no pixel's truth stays.
    """
    stays, wanted = (np.all([x == maps[0] for x in maps], axis=0) for maps in (labels, truth))
    total = np.count_nonzero(wanted)
    return np.count_nonzero(stays & wanted) / total if total else float("nan")


def association_quality(tracks: np.ndarray) -> np.ndarray:
    """``(G,)`` of each true tube g: ``sum over tracks p of TPA^2 / (TPA + FPA + FNA) / |g|``; NaN without pixels.

    Every predicted track that overlaps the tube counts, whatever its class (deeplab2's STQ): a tube that is found
    under one class and then under another is associated in part.

    Args:
        tracks: ``(P, G)`` pixels of a whole video in both predicted track p and true tube g, the background's row
            and column included: they make a track's and a tube's size. Row and column 0 are the background, which
            is neither a track nor a tube.
    """
    either = tracks.sum(axis=1)[1:, None] + tracks.sum(axis=0)[None, 1:] - tracks[1:, 1:]
    found = np.nansum(tracks[1:, 1:] * ratio(tracks[1:, 1:], either), axis=0)
    return ratio(found, tracks.sum(axis=0)[1:])


def segmentation_tracking_quality(
    both: np.ndarray, labels: np.ndarray, truth: np.ndarray, *, tube_sum: np.ndarray, tubes: np.ndarray
) -> dict[str, np.ndarray]:
    """STQ with one track per class, from pooled pixel counts ``(..., C)`` and the sum over true tubes.

    SQ is the mean IoU over the classes that occur, background included; AQ (:func:`association_quality`) leaves the
    background out.
    """
    sq = mean_of_defined(ratio(both, labels + truth - both))
    aq = ratio(tube_sum, tubes)
    return {"STQ": np.sqrt(aq * sq), "STQ/AQ": aq, "STQ/SQ": sq}


@dataclass(frozen=True)
class Temporal(Family):
    """``excess_flicker``, silent frames, ``VC2`` and ``VC3`` inside portions, ``STQ`` with one track per class."""

    size: tuple[int, int] | None = None

    counts: ClassVar = frozenset({"silent_frames"})
    since: ClassVar = 2  # in format 1 a tube was associated with the track of its own class alone

    def open(self, video: VideoInfo) -> _TemporalVideo:
        return _TemporalVideo(video)

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        predicted, true = (ratio(totals[name], totals["pairs"]) for name in ("flicker", "flicker_truth"))
        silent = totals["silent_frames"]
        stq = segmentation_tracking_quality(
            *(totals[name] for name in _COUNTS), tube_sum=totals["tube_sum"], tubes=totals["tubes"]
        )
        return {
            "excess_flicker": predicted - true,
            "flicker": predicted,
            "flicker/truth": true,
            "silent_frames": silent,
            "silent_exact": ratio(totals["silent_exact"], silent),
            "silent_false_area": ratio(totals["silent_false_area"], silent),
            **{f"VC{n}": ratio(totals[f"vc{n}"], totals[f"windows{n}"]) for n in WINDOWS},
            **stq,
        }


_COUNTS = ("both", "labels", "truth")
_SUMS = (
    *("flicker", "flicker_truth", "pairs"),
    *("silent_frames", "silent_exact", "silent_false_area"),
    *(f"{name}{n}" for n in WINDOWS for name in ("vc", "windows")),
)


@dataclass
class _TemporalVideo:
    video: VideoInfo
    recent: deque[tuple[np.ndarray, np.ndarray]] = field(default_factory=lambda: deque(maxlen=max(WINDOWS)))
    last_t: int = -2
    last_set: frozenset[int] = frozenset()
    tracks: np.ndarray | None = None
    sums: Sums = field(default_factory=lambda: dict.fromkeys(_SUMS, 0))

    def add(self, frame: FramePair) -> None:
        labels, truth = frame.labels, frame.truth
        if frame.valid is not None:
            labels, truth = np.where(frame.valid, labels, 0), np.maximum(truth, 0)
        shown = frozenset(class_areas(truth))
        if frame.t != self.last_t + 1 or self._is_change(frame.t, shown):
            self.recent.clear()  # a portion begins
        self.recent.append((labels, truth))
        self.last_t, self.last_set = frame.t, shown
        self._add_tracks(frame)
        self._add_silence(labels, truth)
        if len(self.recent) > 1:
            self._add_pair()
        for n in WINDOWS:
            if len(self.recent) >= n:
                self._add_window(n)

    def _is_change(self, t: int, shown: frozenset[int]) -> bool:
        flags = self.video.truth_flags
        return shown != self.last_set if flags is None else bool(flags[t])

    def _add_pair(self) -> None:
        (before, truth_before), (now, truth_now) = list(self.recent)[-2:]
        self.sums["pairs"] += 1
        self.sums["flicker"] += 1 - any_object_iou(now, before)
        self.sums["flicker_truth"] += 1 - any_object_iou(truth_now, truth_before)

    def _add_window(self, n: int) -> None:
        value = window_consistency(*zip(*list(self.recent)[-n:], strict=True))
        if value == value:
            self.sums[f"vc{n}"] += value
            self.sums[f"windows{n}"] += 1

    def _add_silence(self, labels: np.ndarray, truth: np.ndarray) -> None:
        if not truth.any():
            false_px = np.count_nonzero(labels)
            self.sums["silent_frames"] += 1
            self.sums["silent_exact"] += int(false_px == 0)
            self.sums["silent_false_area"] += false_px / labels.size

    def _add_tracks(self, frame: FramePair) -> None:
        ids = self.video.class_ids
        pixels = confusion(channels_of(frame.labels, ids), channels_of(frame.truth, ids), len(ids) + 1)
        self.tracks = pixels if self.tracks is None else self.tracks + pixels

    def close(self) -> Sums:
        side = len(self.video.class_ids) + 1
        tracks = np.zeros((side, side), int) if self.tracks is None else self.tracks
        counts = (tracks.diagonal(), tracks.sum(axis=1), tracks.sum(axis=0))
        pooled = {name: count.tolist() for name, count in zip(_COUNTS, counts, strict=True)}
        quality = association_quality(tracks)
        tubes = {"tube_sum": float(np.nansum(quality)), "tubes": int(np.count_nonzero(counts[2][1:]))}
        return self.sums | pooled | tubes
