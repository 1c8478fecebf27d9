"""Short sequences for training a propagator: a first frame with its mask, and what must follow from it.

A sequence lies inside one segment of its clip, or runs over control points that are held to have been missed: then
only the sound tells that an object of the first frame has fallen silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from ..errors import CoPropError
from ..propagators.aot.config import MAX_OBJECTS
from ..propagators.aot.preprocess import nearest, resize_frame
from ..propagators.audio_insert import AudioTokens
from ..propagators.guides import AudioFeatures, TextGuide, tokens_of_segment
from ..structures import Clip, class_sets
from .losses import IGNORE

Heard = AudioFeatures | TextGuide  # a clip's features, or what makes tokens of its categories' names


@dataclass(frozen=True)
class LabelledClip:
    """A clip with object ids for every frame.

    Attributes:
        labels: ``(T, H, W)`` integers: 0 background, others objects (of any number), IGNORE where nothing is known.
        flags: ``(T,) bool``, its control points.
        names: object id -> category, where known.
    """

    clip: Clip
    labels: np.ndarray
    flags: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenClip:
    """A clip as a network's trained part takes it.

    Attributes:
        clip_id: its name.
        maps: of the backbone, ``(T, C, h, w) float32`` each.
        heard: ``(T, D) float32``.
        labels: ``(T, H, W) int16`` at the network's size.
        flags: ``(T,) bool``, its control points.
        names: as of :class:`LabelledClip`.
    """

    clip_id: str
    maps: tuple[np.ndarray, ...]
    heard: np.ndarray
    labels: np.ndarray
    flags: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)


class SequenceSource(Protocol):
    """Clips by their number."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int) -> LabelledClip: ...

    def describe(self) -> object:
        """What the clips are, for the record of a training."""
        ...


class Clips(Protocol):
    """A source's clips, or what was seen of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int) -> LabelledClip | SeenClip: ...


@dataclass(frozen=True)
class SequenceRule:
    """Which sequences are cut from clips.

    Attributes:
        length: frames of a sequence, the first one included; where a segment is shorter its last frame is repeated,
            and the repeated ones do not count.
        size: height and width that frames and masks are brought to.
        missed_points: control points inside a sequence that nobody tells the propagator of.
        flip_share: how many sequences are mirrored.
        num_identities: the objects' numbers are drawn from 1 to this many (AOT: 10), so that all of them learn.
        context_frames: neighbours to each side whose sound goes with a frame's own.
    """

    length: int = 5
    size: tuple[int, int] = (465, 465)
    missed_points: int = 0
    flip_share: float = 0.5
    num_identities: int = MAX_OBJECTS
    context_frames: int = 0

    def __post_init__(self) -> None:
        if self.length < 2 or self.missed_points < 0 or not 1 <= self.num_identities <= MAX_OBJECTS:
            raise CoPropError(
                f"sequences have at least 2 frames, 0 or more missed points and 1 to {MAX_OBJECTS} identities; got "
                f"{self.length}, {self.missed_points} and {self.num_identities}."
            )


@dataclass(frozen=True)
class MaskedSequence:
    """One sequence.

    Attributes:
        name: clip and first frame.
        frames: ``(L, H, W, 3)``, 0 to 255; ``None`` where they were seen already.
        labels: ``(L, H, W) int64``: 0 background, the identities of the first frame's objects, IGNORE.
        identities: of the first frame's objects.
        audio: of the L frames, if it is wanted.
        maps: what was seen of the frames, ``(L, C, h, w)`` each.
    """

    name: str
    frames: np.ndarray | None
    labels: np.ndarray
    identities: tuple[int, ...]
    audio: AudioTokens | None
    maps: tuple[np.ndarray, ...] = ()


def draw_sequence(
    source: Clips, item: int, rule: SequenceRule, rng: np.random.Generator, heard: Heard | None
) -> MaskedSequence:
    """A sequence of a clip, or of the next one that has any.

    Raises:
        CoPropError: no clip of the source has a sequence of this kind, or words are wanted of objects without names.
    """
    for step in range(len(source)):
        labelled = source[(item + step) % len(source)]
        if windows := windows_of(labelled, rule):
            start, stop, first = windows[rng.integers(len(windows))]
            return _cut(labelled, rule, rng, heard, start=start, stop=stop, first=first)
    raise CoPropError(
        f"none of the {len(source)} clips has an object that is masked in one frame, in a range of at least 2 frames with "
        f"{rule.missed_points} control points inside and masks to compare with. Train on other clips, or miss fewer points."
    )


def windows_of(labelled: LabelledClip | SeenClip, rule: SequenceRule) -> list[tuple[int, int, int]]:
    """All ``(start, stop, first)``: segments merged over the missed points, and where in it a sequence can begin.

    The first frame shows an object and lies in the first of the merged segments, and a later frame of the sequence
    has a mask. Whether the sequence reaches over the missed point is left open: a network must not learn from the
    frames' number alone that something changes.
    """
    starts = np.append(np.flatnonzero(labelled.flags), len(labelled.flags)).tolist()
    sets = _sets(labelled)
    windows = []
    for i in range(len(starts) - 1 - rule.missed_points):
        start, change, stop = starts[i], starts[i + 1], starts[i + 1 + rule.missed_points]
        for first in range(start, min(change, stop - 1)):
            followed = any(s is not None for s in sets[first + 1 : min(stop, first + rule.length)])
            if sets[first] and followed:
                windows.append((start, stop, first))
    return windows


def _sets(labelled: LabelledClip | SeenClip) -> list[frozenset[int] | None]:
    """The objects of each frame; ``None`` where no mask is known."""
    sets = class_sets(list(labelled.labels), ignore=IGNORE)
    return [None if (labels == IGNORE).all() else s for labels, s in zip(labelled.labels, sets, strict=True)]


def _cut(
    labelled: LabelledClip | SeenClip,
    rule: SequenceRule,
    rng: np.random.Generator,
    heard: Heard | None,
    *,
    start: int,
    stop: int,
    first: int,
) -> MaskedSequence:
    """The frames ``first`` on of a window ``[start, stop)``."""
    wanted = range(first, first + rule.length)
    there = [min(t, stop - 1) for t in wanted]
    flip = rng.random() < rule.flip_share
    maps = nearest(torch.from_numpy(labelled.labels[there].astype(np.int64)), rule.size).numpy()
    objects = _largest(labelled.labels[first], rule.num_identities)
    identities = 1 + rng.permutation(rule.num_identities)[: len(objects)]
    labels = _renumbered(maps, objects, identities)
    labels[[t >= stop for t in wanted]] = IGNORE
    frames = None
    if isinstance(labelled, LabelledClip):
        frames = np.stack([resize_frame(np.asarray(labelled.clip.frames[t]), rule.size) for t in there])
        if flip:
            frames, labels = frames[:, :, ::-1], labels[:, :, ::-1]
    audio = None
    if heard is not None:
        audio = _tokens(labelled, rule, heard, start=start, stop=stop).rows(torch.tensor(there) - start)
    seen = tuple(level[there] for level in labelled.maps) if isinstance(labelled, SeenClip) else ()
    return MaskedSequence(
        f"{_name(labelled)} from frame {first}", frames, labels, tuple(identities.tolist()), audio, seen
    )


def _name(labelled: LabelledClip | SeenClip) -> str:
    return labelled.clip_id if isinstance(labelled, SeenClip) else labelled.clip.clip_id


def _tokens(
    labelled: LabelledClip | SeenClip, rule: SequenceRule, heard: Heard, *, start: int, stop: int
) -> AudioTokens:
    """What goes with each frame of a window: its sound, or the words of all that is masked in the window."""
    if not isinstance(heard, TextGuide):
        features = labelled.heard if isinstance(labelled, SeenClip) else heard(labelled.clip)
        return tokens_of_segment(features, start, stop, context_frames=rule.context_frames)
    ids = sorted(set[int]().union(*(s or () for s in _sets(labelled)[start:stop])))
    if unnamed := [object_id for object_id in ids if object_id not in labelled.names]:
        raise CoPropError(
            f"clip '{_name(labelled)}': a text-guided insert is trained with the names of what is masked, and its "
            f"objects {unnamed} have none. Train on clips with classes (AVSS, moc, avss), or let the insert hear sound."
        )
    return heard.tokens_of_words([labelled.names[object_id] for object_id in ids], stop - start)


def _largest(labels: np.ndarray, most: int) -> list[int]:
    """The objects of a map, at most so many: the largest."""
    ids, areas = np.unique(labels[labels > 0], return_counts=True)
    return ids[np.argsort(-areas, kind="stable")[:most]].tolist()


def _renumbered(labels: np.ndarray, objects: Sequence[int], identities: np.ndarray) -> np.ndarray:
    """``int64``: the objects by their identities, others background; IGNORE stays."""
    renumbered = np.where(labels == IGNORE, IGNORE, 0).astype(np.int64)
    for object_id, identity in zip(objects, identities, strict=True):
        renumbered[labels == object_id] = identity
    return renumbered
