"""``R(q, D)`` (paper, equation 4): annotated training clips with the categories that a query names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NUM_EXAMPLES = 3
SIMILAR = 0.8  # least ratio of two spellings of one word

# Names that people and models give to the classes of AVSBench.
SYNONYMS = {
    "aeroplane": "airplane",
    "plane": "airplane",
    "aircraft": "airplane",
    "jet": "airplane",
    "infant": "baby",
    "bassoonist": "bassoon",
    "birdsong": "bird",
    "motorboat": "boat",
    "ship": "boat",
    "coach": "bus",
    "automobile": "car",
    "vehicle": "car",
    "kitten": "cat",
    "cow bell": "bell",
    "violoncello": "cello",
    "puppy": "dog",
    "percussion": "drum",
    "drums": "drum",
    "ambulance": "emergency-car",
    "siren": "emergency-car",
    "fire truck": "emergency-car",
    "police car": "emergency-car",
    "gunshot": "gun",
    "rifle": "gun",
    "machine gun": "gun",
    "hair dryer": "hair-dryer",
    "hang drum": "handpan",
    "mouth organ": "harmonica",
    "chopper": "helicopter",
    "chicken": "hen",
    "rooster": "hen",
    "lawn mower": "mower",
    "lawnmower": "mower",
    "male": "man",
    "male speech": "man",
    "female": "woman",
    "female speech": "woman",
    "female singing": "woman",
    "male singing": "man",
    "men": "man",
    "women": "woman",
    "babies": "baby",
    "motorbike": "motorcycle",
    "rocket": "missile-rocket",
    "missile": "missile-rocket",
    "chainsaw": "saw",
    "sax": "saxophone",
    "goat": "sheep",
    "lorry": "truck",
    "vacuum": "vacuum-cleaner",
    "fiddle": "violin",
}


@dataclass(frozen=True)
class Entry:
    """One annotated training clip.

    Attributes:
        video_id: in its data set.
        categories: names of all that sounds in it; empty: nothing does; ``None``: not known.
        flags: T values of 0 or 1, the first one 1.
        original_id: the id of the same video in another part of the benchmark, if any.
        audio_sha256: of its sound (:func:`~.model.audio_sha256`).
    """

    video_id: str
    categories: tuple[str, ...] | None
    flags: tuple[int, ...]
    original_id: str = ""
    audio_sha256: str = ""

    @property
    def ids(self) -> set[str]:
        return {self.video_id, self.original_id} - {""}


@dataclass(frozen=True)
class Match:
    """The category that a name means, and how that was found."""

    category: str
    by: Literal["name", "synonym", "similarity"]


def plain_words(text: str) -> str:
    """Lower-case words with single blanks: ``Emergency-car`` and ``emergency_car`` are one."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def match_category(name: str, vocabulary: Sequence[str]) -> Match | None:
    """The category of a vocabulary that a free name means: the same name, a synonym or narrower term, a like spelling.

    "acoustic guitar" is a narrower term of "guitar": it holds all words of it, and the longest such category counts.
    "dog" is a wider term of "dog barking", as long as no other category holds it.
    """
    plain = {plain_words(category): category for category in vocabulary}
    given = plain_words(name)
    forms = tuple(dict.fromkeys((given, given.removesuffix("s"), given.removesuffix("es"))))
    for form in forms:
        if form in plain:
            return Match(plain[form], "name")
    for form in forms:
        meant = plain_words(SYNONYMS.get(form, ""))
        if meant in plain:
            return Match(plain[meant], "synonym")
    said = {word for form in forms for word in form.split()}
    held = [words for words in plain if words and set(words.split()) <= said]
    if held:
        return Match(plain[max(held, key=lambda words: (len(words), words))], "synonym")
    for form in filter(None, forms):
        wider = [words for words in plain if set(form.split()) < set(words.split())]
        if len(wider) == 1:
            return Match(plain[wider[0]], "synonym")
    near = difflib.get_close_matches(given, sorted(plain), n=1, cutoff=SIMILAR)
    return Match(plain[near[0]], "similarity") if near else None


def retrieve(
    query: Iterable[str],
    entries: Sequence[Entry],
    *,
    count: int = NUM_EXAMPLES,
    exclude_ids: Collection[str] = (),
    exclude_audio: Collection[str] = (),
) -> tuple[Entry, ...]:
    """The ``count`` entries whose category sets overlap most with the query's.

    Ranked by Jaccard overlap, then by the smaller set difference, then by id; entries that share nothing are not
    examples of anything and left out, as are those whose categories are not known. The query itself is left out by id, by the ids of the entry that it is, and by
    its sound: the same videos are in AVSBench-semantic under other ids.
    """
    wanted = frozenset(query)
    hidden = set(exclude_ids)
    hidden |= {name for entry in entries if entry.ids & hidden for name in entry.ids}
    hidden |= {name for entry in entries if entry.audio_sha256 in exclude_audio for name in entry.ids}
    ranked: list[tuple[float, int, str, Entry]] = []
    for entry in entries:
        if entry.categories is None:
            continue
        shared = len(wanted.intersection(entry.categories))
        union = len(wanted) + len(set(entry.categories)) - shared
        overlap = shared / union if union else 1.0
        if overlap > 0 and not entry.ids & hidden and entry.audio_sha256 not in exclude_audio:
            ranked.append((-overlap, union - shared, entry.video_id, entry))
    ranked.sort(key=lambda row: row[:3])
    return tuple(entry for *_, entry in ranked[:count])
