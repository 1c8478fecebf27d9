"""Things that can be heard and seen: AudioSet's classes joined to ImageNet's, by a table that is data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from ..errors import CoPropError

NUM_IMAGENET = 1000


@dataclass(frozen=True)
class Kind:
    """A thing, or a wider kind of things (``dog``, ``pet``, ``animal``).

    Attributes:
        name: what notes call it.
        sounds: AudioSet's display names that mean it.
        loose: further ones, of which it is one source among several (``Growling``).
        pictures: indices of ImageNet's classes that show it, increasing.
        near: those that only resemble it or stand beside it (a bison for a cow); none of them is in ``pictures``.
    """

    name: str
    sounds: tuple[str, ...]
    loose: tuple[str, ...]
    pictures: tuple[int, ...]
    near: tuple[int, ...]

    def __post_init__(self) -> None:
        seen = (*self.pictures, *self.near)
        if not (self.sounds or self.loose) or not seen:
            raise CoPropError(f"'{self.name}' is heard as something and seen as something; got {self}.")
        if len(set(seen)) < len(seen) or not all(0 <= index < NUM_IMAGENET for index in seen):
            raise CoPropError(f"'{self.name}': ImageNet's classes are 0 to 999, each at most once; got {seen}.")

    @property
    def seen(self) -> frozenset[int]:
        """All of ImageNet's classes that speak for it."""
        return frozenset((*self.pictures, *self.near))

    def wider_than(self, other: Kind) -> bool:
        """Whether whatever shows the other one shows this one too, and more."""
        return self.seen > other.seen

    def chance(self, probabilities: np.ndarray) -> np.ndarray:
        """``(…)`` how probably it is seen, from ``(1000, …)`` probabilities of ImageNet's classes."""
        return probabilities[sorted(self.seen)].sum(axis=0)


@dataclass(frozen=True)
class HeardAndSeen:
    """The table.

    Attributes:
        kinds: by name.
        people: AudioSet's display names of the sounds of people, whom ImageNet has no class for.
    """

    kinds: Mapping[str, Kind]
    people: tuple[str, ...]

    def of_sound(self, label: str) -> Kind | None:
        """The kind that a display name of AudioSet means, loosely or not; None where there is nothing to see of it."""
        return self._by_sound.get(label.casefold())

    def is_wide(self, kind: Kind) -> bool:
        """Whether other kinds of the table are part of it."""
        return any(kind.wider_than(other) for other in self.kinds.values())

    def words(self, *, loose: bool = True) -> dict[str, tuple[str, ...]]:
        """Kind -> the display names that mean it, as :meth:`coprop_plugin.audio.tags.Tags.in_words` takes them."""
        named = {name: kind.sounds + (kind.loose if loose else ()) for name, kind in self.kinds.items()}
        return {name: sounds for name, sounds in named.items() if sounds}

    @property
    def _by_sound(self) -> dict[str, Kind]:
        return {label.casefold(): kind for kind in self.kinds.values() for label in (*kind.sounds, *kind.loose)}


def narrowest(kinds: Iterable[Kind]) -> list[Kind]:
    """Those that are not wider than another of them: of a dog that is an animal too, the dog."""
    kinds = list(kinds)
    return [kind for kind in kinds if not any(kind.wider_than(other) for other in kinds)]


@lru_cache(maxsize=1)
def heard_and_seen() -> HeardAndSeen:
    """The table of the package (``data/audioset_imagenet.json``)."""
    told = json.loads((files("coprop_plugin") / "data" / "audioset_imagenet.json").read_text(encoding="utf-8"))
    entries = told["kinds"]

    def indices(name: str, field: str) -> set[int]:
        own = {index for key in entries[name].get(field, ()) for index in _span(key)}
        return own.union(*(indices(part, field) for part in entries[name].get("of", ())))

    kinds = {}
    for name, entry in entries.items():
        pictures = indices(name, "pictures")
        near = indices(name, "near") - pictures
        sounds, loose = tuple(entry["sounds"]), tuple(entry.get("loose", ()))
        kinds[name] = Kind(name, sounds, loose, tuple(sorted(pictures)), tuple(sorted(near)))
    return HeardAndSeen(kinds, tuple(told["people"]))


def _span(key: str) -> range:
    """``"7"`` or ``"7-8"``, both ends included."""
    first, _, last = key.partition("-")
    return range(int(first), int(last or first) + 1)
