"""Sounds whose sources are known, as the learned control points train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..audio.level import level_of
from ..control_points.boundary_net import FRAMES_PER_S, band_levels, heard_frames
from ..datasets.made import MadeClips, made_clips
from ..datasets.objects.clips import Variety, make_object_sound, make_object_tracks
from ..datasets.objects.recordings import RATE_HZ
from ..datasets.synthetic import make_clip
from ..errors import CoPropError
from ..structures import Sound
from .boundary_varied import Tracks

SECONDS = 10  # of every clip: longer ones are cut, shorter kinds are refused
LENGTH = SECONDS * FRAMES_PER_S
MOST_SOURCES = 8  # bits of a state


@dataclass(frozen=True)
class HeardSet:
    """The sounds of made clips; tracks are made when they are first asked for and kept, some 150 kB each."""

    clips: MadeClips
    _kept: dict[int, Tracks] = field(default_factory=dict, compare=False, repr=False)

    @property
    def num_items(self) -> int:
        return len(self.clips.seeds)

    def tracks(self, index: int) -> Tracks:
        """The sources of a library's clip one by one, more varied where it is of a train part; others as one track."""
        if index not in self._kept:
            clips, seed = self.clips, self.clips.seeds[index]
            if clips.library is not None:
                apart, sources = make_object_tracks(
                    clips.library,
                    seed,
                    split=clips.split,
                    kind=clips.kind,
                    classes=clips.classes,
                    variety=self._variety,
                )
                sounds = [Sound(samples, RATE_HZ) for samples in apart]
                states = [states_of([turns], LENGTH) << i for i, turns in enumerate(sources)]
            else:
                sound, sources = _by_formula(clips.kind, seed)
                sounds = [sound, Sound(np.zeros_like(sound.samples), sound.rate_hz)]
                states = [states_of(sources, LENGTH)]
            levels = np.stack([band_levels(self._long(sound), start=0, stop=LENGTH) for sound in sounds])
            told = np.stack([*states, np.zeros(LENGTH, np.uint8)])
            self._kept[index] = Tracks(levels.astype(np.float16), told)
        return self._kept[index]

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """``(T, NUM_BANDS) float32`` dB above the loudest moment, and ``(T,) uint8`` states: a bit for each source."""
        sound, sources = self.sound(index)
        loudest_dbfs = level_of(sound).loudest_dbfs
        return heard_frames(sound, start=0, stop=LENGTH, loudest_dbfs=loudest_dbfs), states_of(sources, LENGTH)

    def sound(self, index: int) -> tuple[Sound, list[np.ndarray]]:
        """The clip's sound, and when each of its sources is heard, ``(n, 2)`` seconds."""
        clips, seed = self.clips, self.clips.seeds[index]
        if clips.library is None:
            sound, sources = _by_formula(clips.kind, seed)
            return self._long(sound), sources
        made = make_object_sound(
            clips.library, seed, split=clips.split, kind=clips.kind, classes=clips.classes, variety=self._variety
        )
        return self._long(made.sound), [source.intervals_s for source in made.sources]

    @property
    def _variety(self) -> Variety:
        return "wide" if self.clips.split == "train" else "usual"

    def _long(self, sound: Sound) -> Sound:
        if sound.duration_s < SECONDS:
            raise CoPropError(
                f"clips of the kind '{self.clips.kind}' have {sound.duration_s:g} s; {SECONDS} are needed."
            )
        return sound


def _by_formula(kind: str, seed: int) -> tuple[Sound, list[np.ndarray]]:
    """A synthetic clip's sound, and when each of its sources is heard, ``(n, 2)`` seconds."""
    made = make_clip(seed, kind=kind, size=(32, 32), onsets="free")
    who = sorted({(event.class_id, event.object_id or 0) for event in made.events})
    return made.clip.sound, [
        np.array([(e.start_s, e.stop_s) for e in made.events if (e.class_id, e.object_id or 0) == one]) for one in who
    ]


@dataclass(frozen=True)
class HeardSets:
    """Several sets as one."""

    sets: Sequence[HeardSet]

    @property
    def num_items(self) -> int:
        return sum(one.num_items for one in self.sets)

    def tracks(self, index: int) -> Tracks:
        """Of the set that the index lies in."""
        one, index = self._place(index)
        return one.tracks(index)

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the set that the index lies in."""
        one, index = self._place(index)
        return one.item(index)

    def sound(self, index: int) -> tuple[Sound, list[np.ndarray]]:
        """Of the set that the index lies in."""
        one, index = self._place(index)
        return one.sound(index)

    def _place(self, index: int) -> tuple[HeardSet, int]:
        for one in self.sets:
            if index < one.num_items:
                return one, index
            index -= one.num_items
        raise IndexError(index)

    def describe(self) -> dict[str, Any]:
        return {"data": [one.clips.describe() for one in self.sets]}


def open_heard(texts: Sequence[str]) -> HeardSets:
    """The sounds of made clips, by the names of :func:`~coprop_plugin.datasets.made.made_clips`.

    Raises:
        CoPropError: another form, or no library there.
    """
    return HeardSets(tuple(HeardSet(made_clips(text)) for text in texts))


def states_of(sources: Sequence[np.ndarray], length: int) -> np.ndarray:
    """``(length,) uint8``: which sources are heard at the middle of each frame, a bit for each."""
    if len(sources) > MOST_SOURCES:
        raise CoPropError(f"a clip of {len(sources)} sources; at most {MOST_SOURCES} are told apart.")
    middles_s = (np.arange(length) + 0.5) / FRAMES_PER_S
    states = np.zeros(length, np.uint8)
    for i, intervals_s in enumerate(sources):
        for start_s, stop_s in np.asarray(intervals_s).reshape(-1, 2):
            states[(middles_s >= start_s) & (middles_s < stop_s)] |= np.uint8(1 << i)
    return states
