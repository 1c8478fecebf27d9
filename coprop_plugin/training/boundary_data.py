"""Sounds whose sources are known, as the learned control points train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..audio.level import level_of
from ..control_points.boundary_net import FRAMES_PER_S, mel_frames
from ..datasets.made import MadeClips, made_clips
from ..datasets.objects.clips import make_object_sound
from ..datasets.synthetic import make_clip
from ..errors import CoPropError
from ..structures import Sound

SECONDS = 10  # of every clip: longer ones are cut, shorter kinds are refused
MOST_SOURCES = 8  # bits of a state


@dataclass(frozen=True)
class HeardSet:
    """The sounds of made clips; items are made when they are first asked for and kept, 16 kB each."""

    clips: MadeClips
    _kept: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def num_items(self) -> int:
        return len(self.clips.seeds)

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """``(T, NUM_MELS) float16`` dB above the loudest moment, and ``(T,) uint8`` states: a bit for each source."""
        if index not in self._kept:
            sound, sources = self._made(self.clips.seeds[index])
            if sound.duration_s < SECONDS:
                raise CoPropError(
                    f"clips of the kind '{self.clips.kind}' have {sound.duration_s:g} s; {SECONDS} are needed."
                )
            mel = mel_frames(sound, start=0, stop=SECONDS * FRAMES_PER_S, loudest_dbfs=level_of(sound).loudest_dbfs)
            self._kept[index] = mel.astype(np.float16), states_of(sources, len(mel))
        return self._kept[index]

    def _made(self, seed: int) -> tuple[Sound, list[np.ndarray]]:
        """A sound, more varied where it is of a train part, and when each of its sources is heard, ``(n, 2)`` seconds."""
        clips = self.clips
        if clips.library is not None:
            heard = make_object_sound(
                clips.library,
                seed,
                split=clips.split,
                kind=clips.kind,
                classes=clips.classes,
                variety="wide" if clips.split == "train" else "usual",
            )
            return heard.sound, [source.intervals_s for source in heard.sources]
        made = make_clip(seed, kind=clips.kind, size=(32, 32), onsets="free")
        who = sorted({(event.class_id, event.object_id or 0) for event in made.events})
        return made.clip.sound, [
            np.array([(e.start_s, e.stop_s) for e in made.events if (e.class_id, e.object_id or 0) == one])
            for one in who
        ]


@dataclass(frozen=True)
class HeardSets:
    """Several sets as one."""

    sets: Sequence[HeardSet]

    @property
    def num_items(self) -> int:
        return sum(one.num_items for one in self.sets)

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the set that the index lies in."""
        for one in self.sets:
            if index < one.num_items:
                return one.item(index)
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
