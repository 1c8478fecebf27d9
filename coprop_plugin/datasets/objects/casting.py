"""Which things of a library play in a clip: objects that sound, silent ones, and what is heard from off-screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import CoPropError
from ...structures import AVSBENCH_NAMES
from ..schedule import ClipKind
from .library import Library, Thing

Classes = Literal["all", "avsbench"]
Cast = Literal["pictured", "all"]
SPEAKER_SHARE = 0.3  # of the clips whose split has speakers, one of the sources is one
SILENT_TWIN_SHARE = 0.5  # of the silent objects, those that could sound: only the sound tells
NARRATOR_SHARE = 0.5  # of the sounds from off-screen


@dataclass(frozen=True)
class Player:
    """One thing in a clip.

    Attributes:
        thing: what it is; ``None`` for a narrator.
        class_name: its class.
        sounds: what it may be heard with; empty for a silent one.
    """

    thing: Thing | None
    class_name: str
    sounds: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Company:
    """All of a clip: ``sources`` first to last as the columns of the states, ``silent`` ones, ``hidden`` or nobody."""

    sources: tuple[Player, ...]
    silent: tuple[Player, ...]
    hidden: Player | None


@dataclass(frozen=True)
class Troupe:
    """What a split of a library has to offer, by class.

    Attributes:
        sounding: class -> objects that may be sources.
        offstage: class -> objects that may be heard from off-screen.
        silent: class -> distractors.
        speakers: of the voices.
    """

    sounding: dict[str, tuple[Thing, ...]]
    offstage: dict[str, tuple[Thing, ...]]
    silent: dict[str, tuple[Thing, ...]]
    speakers: tuple[Thing, ...]

    @classmethod
    def of(cls, library: Library, split: str, *, classes: Classes = "all", cast: Cast = "pictured") -> Troupe:
        """The things of a split; with ``classes="avsbench"`` all that is seen is of AVSBench's classes.

        Raises:
            CoPropError: nothing in the split can be a source.
        """
        speakers = library.of("voices", split)
        objects = [t for t in library.of("objects", split) if t.sounds or (t.spoken and speakers)]
        distractors: Sequence[Thing] = library.of("distractors", split)
        sounding = [t for t in objects if t.picture is not None or cast == "all"]
        if classes == "avsbench":
            sounding = [t for t in sounding if _benchmark(library, t)]
            distractors = [t for t in distractors if _benchmark(library, t)]
        if not sounding:
            raise CoPropError(
                f"{library.root}: nothing in the split '{split}' can sound in a clip (cast '{cast}', classes '{classes}'); "
                f"it has {library.counts()}."
            )
        return cls(_by_class(sounding), _by_class(objects), _by_class(distractors), speakers)

    def draw(self, rng: np.random.Generator, rule: ClipKind, num_sources: int) -> Company:
        """A clip's company; all classes differ."""
        names = sorted(self.sounding)
        spoken = [n for n in names if any(t.spoken for t in self.sounding[n])]
        chosen: list[str] = []
        if spoken and rng.random() < SPEAKER_SHARE:
            chosen.append(spoken[int(rng.integers(len(spoken)))])
        others = [n for n in names if n not in spoken] if chosen or len(names) - len(spoken) >= num_sources else names
        others = [n for n in others if n not in chosen]
        chosen += [others[i] for i in rng.permutation(len(others))[: num_sources - len(chosen)]]
        chosen = [chosen[i] for i in rng.permutation(len(chosen))]
        sources = tuple(self._player(rng, self.sounding[name]) for name in chosen)
        silent: list[Player] = []
        for _ in range(int(rng.integers(rule.distractors[0], rule.distractors[1] + 1))):
            taken = {*chosen, *(p.class_name for p in silent)}
            twins = {n: tuple(t for t in ts if t.picture) for n, ts in self.sounding.items() if n not in taken}
            pool = (
                twins if rng.random() < SILENT_TWIN_SHARE else {n: t for n, t in self.silent.items() if n not in taken}
            )
            free = sorted(n for n, things in pool.items() if things)
            if free:
                name = free[int(rng.integers(len(free)))]
                silent.append(Player(pool[name][int(rng.integers(len(pool[name])))], name))
        hidden = None
        if rng.random() < rule.off_screen_share:
            hidden = self._hidden(rng, {*chosen, *(p.class_name for p in silent)})
        return Company(sources, tuple(silent), hidden)

    def _hidden(self, rng: np.random.Generator, taken: set[str]) -> Player | None:
        free = sorted(n for n, ts in self.offstage.items() if n not in taken and not any(t.spoken for t in ts))
        if self.speakers and (rng.random() < NARRATOR_SHARE or not free):
            return Player(None, "narrator", self._speaker(rng))
        return self._player(rng, self.offstage[free[int(rng.integers(len(free)))]]) if free else None

    def _player(self, rng: np.random.Generator, things: Sequence[Thing]) -> Player:
        thing = things[int(rng.integers(len(things)))]
        return Player(thing, thing.class_name, self._speaker(rng) if thing.spoken else thing.sounds)

    def _speaker(self, rng: np.random.Generator) -> tuple[Path, ...]:
        return self.speakers[int(rng.integers(len(self.speakers)))].sounds


def _benchmark(library: Library, thing: Thing) -> bool:
    return library.class_ids[thing.class_name] < len(AVSBENCH_NAMES)


def _by_class(things: Sequence[Thing]) -> dict[str, tuple[Thing, ...]]:
    names = sorted({t.class_name for t in things})
    return {name: tuple(t for t in things if t.class_name == name) for name in names}
