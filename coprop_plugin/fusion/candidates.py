"""Which things may sound in a clip, by the nouns of what a model said of it: the only ones that an ear is asked about.

The nouns are those of the second of two answers about a video (SSP, arXiv 2601.08133, section 2.3: "give the NOUN word
that potentially produce sound"), as ``coprop annotate prompts`` writes them. They are text from a model: what is no usable
answer is no error but said, and then the ear is asked as if nothing had been given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..audio.tags import avsbench_table
from ..errors import CoPropError
from ..language.answers import AnswerSource, NoText, SavedAnswers
from ..structures import Clip
from ..vision.heard_and_seen import Kind, heard_and_seen

MOST_NOUNS = 64  # of an answer are read
TOLD_NOUNS, TOLD_CHARS = 6, 30  # in notes
_LEADING = re.compile(r"^(?:(?:an?|the|some|one|two|three|several|many|this|that)\s+)+")
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "wolves": "wolf",
    "buses": "bus",
}


@dataclass(frozen=True)
class Candidates:
    """The things that may sound in a clip.

    Attributes:
        nouns: in lower case, at least one.
        about: who named them, for notes.
    """

    nouns: tuple[str, ...]
    about: str

    @cached_property
    def sounds(self) -> frozenset[str]:
        """AudioSet's display names that they sound as, case folded; an animal may sound as any that the tables know."""
        own = {name.casefold() for noun in self.nouns for word in singulars(noun) for name in sounds_of(word)}
        narrower = (kind for kind in _table() if any(wide.wider_than(kind) for wide in self._own_kinds(own)))
        return frozenset(own.union(*(_sounds(kind) for kind in narrower)))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Those that can be seen too."""
        return tuple(self._own_kinds(self.sounds))

    def name(self, sounds: Sequence[str]) -> bool:
        """Whether what makes these sounds is among them."""
        return any(sound.casefold() in self.sounds for sound in sounds)

    @property
    def told(self) -> str:
        """The nouns in few words."""
        shown = [noun if len(noun) <= TOLD_CHARS else f"{noun[:TOLD_CHARS]}…" for noun in self.nouns[:TOLD_NOUNS]]
        return ", ".join([*shown, "…"] if len(self.nouns) > TOLD_NOUNS else shown)

    @staticmethod
    def _own_kinds(sounds: set[str] | frozenset[str]) -> Iterator[Kind]:
        return (kind for kind in _table() if _sounds(kind) & sounds)


def candidates_of(clip: Clip, source: AnswerSource) -> Candidates | NoText:
    """What is named of a clip, or why nothing is."""
    said = source.of(clip)
    if isinstance(said, NoText):
        return said
    nouns = tuple(dict.fromkeys(filter(None, (_LEADING.sub("", noun) for noun in said.nouns))))[:MOST_NOUNS]
    return Candidates(nouns, source.about) if nouns else NoText("A2 names nothing")


def open_candidates(given: AnswerSource | Mapping[str, Any] | str | Path | None) -> AnswerSource | None:
    """Of the option ``candidates``.

    Raises:
        CoPropError: no such file, a file that is no mapping by videos, or something else altogether.
    """
    if given is None or isinstance(given, AnswerSource):
        return given
    if isinstance(given, str | Path | Mapping):
        return SavedAnswers(given)
    raise CoPropError(
        f"candidates is a JSON file {{video: [A1, A2]}} (coprop annotate prompts writes one), the mapping, or an object "
        f"with of(clip) and about; got {type(given).__name__}."
    )


def singulars(noun: str) -> tuple[str, ...]:
    """A noun, its last word, and both as one of them: ``barking dogs`` is also ``dog``."""
    words = noun.split()
    ways = [noun, *(words[-1:] if len(words) > 1 else ())]
    return tuple(dict.fromkeys(one for way in ways for one in (way, _singular(way)) if one))


def _singular(noun: str) -> str:
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        one = _IRREGULAR[last]
    elif last.endswith("ies") and len(last) > 4:
        one = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        one = last[:-2]
    else:
        one = last[:-1] if last.endswith("s") and not last.endswith("ss") else last
    return f"{head} {one}".strip()


def sounds_of(name: str) -> tuple[str, ...]:
    """AudioSet's display names that a class of that name sounds as; the name itself where no table has it."""
    plain = name.replace("_", " ").casefold()
    tables: Sequence[Mapping[str, tuple[str, ...]]] = (avsbench_table(), heard_and_seen().words())
    for table in tables:
        for known, names in table.items():
            if known.casefold() in (name.casefold(), plain):
                return names
    return (plain,)


def _table() -> tuple[Kind, ...]:
    return tuple(heard_and_seen().kinds.values())


def _sounds(kind: Kind) -> set[str]:
    """What means a kind for sure, case folded: ``Growling`` may be another's."""
    return {sound.casefold() for sound in kind.sounds}
