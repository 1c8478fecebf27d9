"""The keyframes of the clips that are trained on: found by a generator, or those of the true masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..control_points.base import ControlPointGenerator, check_points
from ..datasets.keyframes import KeyframeList
from ..errors import CoPropError
from ..store.manifest import plain
from .losses import IGNORE
from .sequences import SequenceSource

TRUE = "truth"


@dataclass(frozen=True)
class Found:
    """Keyframes, and what is worth telling of how they were found.

    Attributes:
        keyframes: the list.
        num_frames: of all clips.
        masked: how many keyframes have a mask; only those can be trained on.
        notes: what generators fell back to or repaired, and how often.
    """

    keyframes: KeyframeList
    num_frames: int
    masked: int
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_keyframes(self) -> int:
        return sum(map(len, self.keyframes.frames.values()))


def find_keyframes(
    source: SequenceSource,
    generator: ControlPointGenerator | None,
    *,
    name: str = "",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Found:
    """The first frames of all segments of a source's clips.

    Args:
        source: the clips.
        generator: finds their control points (paper: RCPG); ``None`` takes those of the true masks.
        name: how the list calls it, with its options.
        progress: wraps the clips' numbers while they are listened to.

    Raises:
        CoPropError: a generator that needs a base model, two clips of one id, or an answer of another length.
    """
    if generator is not None and generator.wants_base:
        raise CoPropError(
            f"'{generator.name}' looks at a base model's masks; here is none. Take {TRUE} for the true ones."
        )
    frames: dict[str, tuple[int, ...]] = {}
    notes: Counter[str] = Counter()
    total = masked = 0
    for item in progress(range(len(source))):
        labelled = source[item]
        clip, flags = labelled.clip, np.asarray(labelled.flags, bool)
        if generator is not None:
            points = check_points(generator(clip), clip, by=generator.name)
            flags = points.flags
            notes.update([f"fell back to {points.origin.fallback}"] if points.origin.fallback else [])
            notes.update(points.origin.repairs)
        if clip.clip_id in frames:
            raise CoPropError(f"two clips are called '{clip.clip_id}'; a list of keyframes needs ids that are unique.")
        frames[clip.clip_id] = tuple(np.flatnonzero(flags).tolist())
        total += clip.num_frames
        masked += sum(bool((labelled.labels[t] != IGNORE).any()) for t in frames[clip.clip_id])
    return Found(
        KeyframeList(data_of(source), name or (generator.name if generator else TRUE), frames), total, masked, notes
    )


def data_of(source: SequenceSource) -> dict[str, Any]:
    """What a list of keyframes says of its clips; at which size they are drawn does not matter to it."""
    told = dict(plain(source.describe()))
    told.pop("size", None)
    return told
