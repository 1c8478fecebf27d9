"""Subsets by rule: MOC (videos whose set of sounding categories changes) and the keyframes of every video."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ..errors import CoPropError
from ..structures import ControlPoints, Origin, change_flags, class_sets
from ..structures.control_points import SOUND_AND_SILENCE
from .avsbench import UNLABELLED, AVSBench
from .layouts import Video

PUBLISHED_MOC = 17  # of the 64 MS3 test videos (26.56 %)
MS3_SUBSET = "v1m"  # the MS3 videos inside AVSS, where they have class masks


def in_moc(sets: Sequence[frozenset[int]], *, silence_counts: bool = True) -> bool:
    """Whether a video belongs to MOC, from the class sets of its frames.

    Args:
        sets: ``S_t`` of each frame (:func:`coprop_plugin.structures.class_sets` of class masks; binary masks show
            sound and silence only).
        silence_counts: whether sound starting or stopping is a change, or only one set following another.
    """
    return bool(change_flags(sets, silence_counts=silence_counts)[1:].any())


def moc_videos(
    dataset: AVSBench, *, split: str = "test", silence_counts: bool = True, semantic: AVSBench | None = None
) -> tuple[Video, ...]:
    """The videos of a split whose set of sounding classes changes over time (MOC is that of the MS3 test split).

    Args:
        dataset: AVSS (its MS3 videos, subset ``v1m``, are taken) or MS3.
        split: which one.
        silence_counts: whether sound starting or stopping is a change, or only one set following another.
        semantic: for MS3, the AVSS data set whose class masks tell the categories; the binary masks of MS3 alone
            only show sound and silence.

    Warns:
        UserWarning: the split has MS3's 64 test videos, but not 17 of them change.

    Raises:
        CoPropError: MS3 without ``semantic``, a data set of single sources, or a video without class masks.
    """
    if dataset.layout.name == "s4":
        raise CoPropError("S4 has single sources only; MOC is a subset of MS3 (layout ms3 or avss).")
    if dataset.layout.name == "ms3" and semantic is None:
        raise CoPropError(
            "MS3 masks are binary and do not show which category sounds. Give the AVSS data set, which has class masks "
            "of the same videos, as semantic=."
        )
    videos = [v for v in dataset.videos(split) if dataset.layout.name == "ms3" or v.group == MS3_SUBSET]
    sets = {video: semantic_sets(dataset, video, semantic=semantic) for video in videos}
    chosen = tuple(video for video in videos if in_moc(sets[video], silence_counts=silence_counts))
    if split == "test" and len(videos) == 64 and len(chosen) != PUBLISHED_MOC:
        other = sum(in_moc(s, silence_counts=not silence_counts) for s in sets.values())
        warnings.warn(
            f"{len(chosen)} of the 64 MS3 test videos change, but the published MOC has {PUBLISHED_MOC}; "
            f"with silence_counts={not silence_counts} there are {other}.",
            stacklevel=2,
        )
    return chosen


def semantic_sets(dataset: AVSBench, video: Video, *, semantic: AVSBench | None = None) -> list[frozenset[int]]:
    """``S_t`` of every frame, from class masks; a frame without a mask repeats the one before.

    Raises:
        CoPropError: ``semantic`` lacks the video.
    """
    if semantic is not None and dataset.layout.name != "avss":
        twins = [v for v in semantic.table if v.original_id == video.original_id and v.group in ("v1s", MS3_SUBSET)]
        if not twins:
            raise CoPropError(f"'{video.video_id}' is not among the v1 videos of {semantic.data}.")
        dataset, video = semantic, twins[0]
    labels = dataset.truth(video).label_maps()
    sets: list[frozenset[int]] = []
    for frame in labels:
        unlabelled = bool((frame == UNLABELLED).all())
        sets.append(sets[-1] if unlabelled and sets else class_sets([frame])[0])
    return sets


def true_control_points(
    dataset: AVSBench, video: Video, *, semantic: AVSBench | None = None, silence_counts: bool = True
) -> ControlPoints:
    """Control points from the true masks (paper A.1); their frames are the keyframes of the video.

    S4 training videos have one mask and one source: only frame 0 is a keyframe. From binary masks only changes
    between sound and silence are seen; ``origin`` tells it.
    """
    sets = semantic_sets(dataset, video, semantic=semantic)
    flags = change_flags(sets, silence_counts=silence_counts)
    starts = [sets[t] for t in np.flatnonzero(flags)]
    by_class = semantic is not None or dataset.layout.name == "avss"
    names = (semantic or dataset).names
    return ControlPoints(
        flags=flags,
        silent=tuple(not classes for classes in starts) if silence_counts else None,
        categories=tuple(tuple(names[c] for c in sorted(classes)) for classes in starts) if by_class else None,
        origin=Origin("truth" if by_class else f"truth {SOUND_AND_SILENCE}"),
    )
