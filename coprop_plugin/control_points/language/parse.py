"""What a language model wrote, as flags or categories: found leniently, checked strictly, failures named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...language.thinking import without_thinking
from .retrieval import plain_words

MAX_ANSWER_CHARS = 20_000
MAX_CATEGORY_WORDS = 4
SHORTEST_REPEATED_LINE = 20  # characters: a shorter line of the prompt may well stand in an answer too

AnswerFault = Literal["empty", "unfinished", "too_long", "repeats_prompt", "no_list", "not_binary", "wrong_length"]

_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE)
_BIT = re.compile(r"(['\"]?)([01])(\.0*)?\1", re.ASCII)
_LINE = re.compile(
    r"^\W*(?:frame|second|segment|sec|time)\s*#?\s*(\d{1,4})(?:st|nd|rd|th|s)?[\s*_]*[:=\-–—>]+[\s*_]*([01])\b[\s*_.,;]*(?:\(.*)?$",
    re.ASCII | re.IGNORECASE | re.MULTILINE,
)
_CORNERED = str.maketrans({"【": "[", "】": "]", "〔": "[", "〕": "]", "、": ","})
_NOTHING = {"none", "nothing", "silence", "silent", "no sound", "no sounds", "n a"}
_BULLET = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+", re.MULTILINE)
_ARTICLE = re.compile(r"^(?:and|or|the|an|a|some)\s+")


@dataclass(frozen=True)
class Failure:
    """Why an answer is no list of control points.

    Attributes:
        kind: ``empty``, ``unfinished``, ``too_long``, ``repeats_prompt`` (and says nothing else), ``no_list`` (bare digits in prose are
            none), ``not_binary``, ``wrong_length``.
        detail: what was found.
    """

    kind: AnswerFault
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})"


@dataclass(frozen=True)
class Marked:
    """A valid answer: ``flags (T,) bool``, the first one true; ``first_forced`` where the model had written 0 there."""

    flags: np.ndarray
    first_forced: Literal["kept", "forced"]


def read_flags(answer: str, length: int, *, prompt: str = "") -> Marked | Failure:
    """The last bracketed list of an answer, if it is ``length`` values of 0 or 1; else lines as ``Frame 3: 1``.

    Thinking is left out, full-width digits and punctuation are read like others. Lines that repeat the prompt (which may hold example lists) are not looked at.

    Args:
        answer: any text.
        length: T, 1 or more.
        prompt: the question that was asked.
    """
    if not answer.strip():
        return Failure("empty", "no text")
    if len(answer) > MAX_ANSWER_CHARS:
        return Failure("too_long", f"{len(answer)} characters")
    said, thinking = without_thinking(answer)
    if thinking:
        return Failure("unfinished", "it ends in the middle of its thinking")
    own = _without_prompt(_half_width(said), prompt)
    if not own.strip():
        return Failure("repeats_prompt", "nothing else was said")
    lists = [items for group in _BRACKETED.findall(own) if (items := _items(group)) is not None]
    items = lists[-1] if lists else _numbered_lines(own)
    if items is None:
        return Failure("no_list", "no list in square brackets, no lines as 'Frame 1: 0'")
    bits = [_BIT.fullmatch(item) for item in items]
    odd = [item for item, bit in zip(items, bits, strict=True) if bit is None]
    if odd:
        return Failure("not_binary", f"the value {odd[0][:20]!r}")
    if len(items) != length:
        return Failure("wrong_length", f"{len(items)} values for {length} frames")
    flags = np.array([bit is not None and bit[2] == "1" for bit in bits])
    forced: Literal["kept", "forced"] = "kept" if flags[0] else "forced"
    flags[0] = True
    return Marked(flags, forced)


def _half_width(text: str) -> str:
    """Full-width digits, commas, colons and brackets of Chinese text as the usual ones; other scripts stay."""
    wide = (unicodedata.normalize("NFKC", c) if "\uff01" <= c <= "\uff5e" else c for c in text)
    return "".join(wide).translate(_CORNERED)


def _numbered_lines(text: str) -> list[str] | None:
    """The values of lines as ``Frame 3: 1``, counted from 0 or 1 without a hole; the last such run."""
    runs: list[list[str]] = []
    expected = -1
    for number, value in ((int(n), v) for n, v in _LINE.findall(text)):
        if number != expected or not runs:
            if number > 1:
                continue
            runs.append([])
        runs[-1].append(value)
        expected = number + 1
    return runs[-1] if runs else None


def _items(group: str) -> list[str] | None:
    """The items of a bracketed text; ``None`` where it is a remark and no list: words without a number."""
    items = [item.strip() for item in re.split(r"[,;]", group)] if re.search(r"[,;]", group) else group.split()
    numbers = any(_NUMBER.fullmatch(word.strip("'\"")) for item in items for word in item.split())
    return items if numbers or not items else None


def _without_prompt(answer: str, prompt: str) -> str:
    lines = {" ".join(line.split()) for line in prompt.splitlines()}
    own = " \n".join(" ".join(line.split()) for line in answer.splitlines())
    for line in sorted(lines, key=len, reverse=True):
        if len(line) >= SHORTEST_REPEATED_LINE:
            own = own.replace(line, " ")
    return own


def read_categories(answer: str, vocabulary: Sequence[str] = ()) -> tuple[str, ...] | None:
    """The names that an answer lists, in its order; ``()`` for silence, ``None`` where it names nothing.

    A comma separated list of short nouns is taken as it is; in prose only names of the vocabulary are found.
    """
    text = _BULLET.sub("", _half_width(without_thinking(answer)[0])[:MAX_ANSWER_CHARS]).strip()
    parts = [plain_words(part) for part in re.split(r"[,;\n]|\band\b", text)]
    nouns = [_ARTICLE.sub("", _ARTICLE.sub("", part)) for part in parts if part]
    if nouns and all(noun in _NOTHING for noun in nouns):
        return ()
    if nouns and all(len(noun.split()) <= MAX_CATEGORY_WORDS for noun in nouns) and not re.search(r"[.!?]\s+\S", text):
        return tuple(dict.fromkeys(noun for noun in nouns if noun and noun not in _NOTHING)) or None
    words = f" {plain_words(text)} "
    places = {name: place for name in vocabulary if (place := _place(plain_words(name), words)) >= 0}
    return tuple(sorted(places, key=lambda name: (places[name], name))) or None


def _place(name: str, words: str) -> int:
    """Where a name stands in text as whole words, singular or plural; -1: nowhere."""
    return max(words.find(f" {name} "), words.find(f" {name}s ")) if name else -1
