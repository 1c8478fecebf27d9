"""The MOC subset by rule: videos whose set of sounding categories changes over time (all 17 of MS3's test videos)."""

from __future__ import annotations

from collections.abc import Sequence

from ..structures import change_flags


def in_moc(sets: Sequence[frozenset[int]], *, silence_counts: bool = True) -> bool:
    """Whether a video belongs to MOC, from the class sets of its frames.

    Args:
        sets: ``S_t`` of each frame (:func:`coprop_plugin.structures.class_sets` of class masks; binary masks show
            sound and silence only).
        silence_counts: whether sound starting or stopping is a change, or only one set following another.
    """
    return bool(change_flags(sets, silence_counts=silence_counts)[1:].any())


def categories(sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """The classes that a video shows in any frame."""
    return frozenset().union(*sets)
