"""Scores of keyframes and of normal frames apart (paper, table 6): frames are pooled, ``all = w key + (1 - w) normal``.

The flags are the predicted control points, those that decided where keyframes are; the truth's where none are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..masks.areas import class_areas
from .alignment import flags_of_sets
from .binary import Binary
from .frames import FramePair, VideoInfo
from .semantic import Semantic
from .sums import Family, Sums, VideoSums, ratio, totals

KINDS = ("all", "key", "normal")


def split_mean(values: np.ndarray, flags: np.ndarray) -> dict[str, float]:
    """Mean of per-frame values ``(N,)`` over all, key and normal frames, and the share of keyframes (NaN: no such frame)."""
    values, flags = np.asarray(values, float), np.asarray(flags, bool)
    groups = {"all": values, "key": values[flags], "normal": values[~flags]}
    means = {name: float(group.mean()) if len(group) else float("nan") for name, group in groups.items()}
    return means | {"key_share": float(flags.mean())}


@dataclass(frozen=True)
class Split(Family):
    """Another family's numbers over all, key and normal frames.

    Attributes:
        family: one whose sums add up over frames.
    """

    family: Binary | Semantic
    size: tuple[int, int] | None = None

    def open(self, video: VideoInfo) -> _SplitVideo:
        return _SplitVideo(video, self.family)

    def sweeps_scores(self) -> bool:
        return self.family.sweeps_scores()

    def values(self, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        scores: dict[str, np.ndarray] = {}
        for kind in KINDS:
            part = {name.removeprefix(f"{kind}:"): v for name, v in totals.items() if name.startswith(f"{kind}:")}
            scores |= {f"{kind}_{name}": value for name, value in self.family.values(part).items() if name in _HEADLINE}
        return scores | {"key_share": ratio(totals["key_frames"], totals["frames"])}


_HEADLINE = ("M_J", "M_F")


class _SplitVideo:
    def __init__(self, video: VideoInfo, family: Binary | Semantic) -> None:
        self.video = video
        self.family = family
        self.frames: dict[int, Sums] = {}
        self.sets: dict[int, frozenset[int]] = {}

    def add(self, frame: FramePair) -> None:
        one: VideoSums = self.family.open(self.video)
        one.add(frame)
        self.frames[frame.t] = one.close()
        if self.video.flags is None and self.video.truth_flags is None:
            self.sets[frame.t] = frozenset(class_areas(np.maximum(frame.truth, 0)))

    def close(self) -> Sums:
        flags = self._flags()
        nothing = {name: np.zeros_like(value[0]) for name, value in totals(list(self.frames.values())).items()}
        sums: Sums = {"frames": len(self.frames), "key_frames": sum(bool(flags[t]) for t in self.frames)}
        for kind in KINDS:
            rows = [row for t, row in self.frames.items() if kind == "all" or flags[t] == (kind == "key")]
            part = {name: value[0] for name, value in totals(rows).items()} if rows else nothing
            sums |= {f"{kind}:{name}": value.tolist() for name, value in part.items()}
        return sums

    def _flags(self) -> np.ndarray:
        if self.video.flags is not None:
            return self.video.flags
        if self.video.truth_flags is not None:
            return self.video.truth_flags
        return flags_of_sets(self.sets, self.video.num_frames)
