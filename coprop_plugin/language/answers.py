"""What a model said of a video, in two answers: text from a model, so never trusted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..files import read_json
from ..files.schema import Anything, MapOf
from ..structures import Clip

MOST_CHARS = 2000  # of an answer; the text encoder reads some hundred words
MAX_FILE_BYTES = 64 << 20
_SPACES = re.compile(r"\s+")
_NOUNS = re.compile(r"[,;.\n]|\band\b")


@dataclass(frozen=True)
class Answers:
    """What a model said of a video: A1 describes it, A2 names what may sound."""

    first: str
    second: str

    @property
    def nouns(self) -> tuple[str, ...]:
        """A2's nouns in lower case, in their order, each once."""
        parts = (part.strip(" \"'*-").lower() for part in _NOUNS.split(self.second))
        return tuple(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True)
class NoText:
    """The named fallback: a video without usable answers is segmented without text."""

    why: str


@runtime_checkable
class AnswerSource(Protocol):
    """Where answers come from."""

    @property
    def about(self) -> str:
        """What it is, for reports and scores."""
        ...

    def of(self, clip: Clip) -> Answers | NoText:
        """The answers about a clip; a fault of an answer is a :class:`NoText`, never an error."""
        ...


def cleaned(text: Any, *, what: str) -> str | NoText:
    """An answer as one line of printable text, or why there is none.

    Control and formatting characters are left out; what follows after MOST_CHARS is cut.
    """
    if not isinstance(text, str):
        return NoText(f"{what} is no text but {type(text).__name__}")
    shown = "".join(c if not unicodedata.category(c).startswith("C") else " " for c in text[: 4 * MOST_CHARS])
    line = _SPACES.sub(" ", shown).strip()[:MOST_CHARS].rstrip()
    return line if any(c.isalnum() for c in line) else NoText(f"{what} is empty")


def checked(given: Any) -> Answers | NoText:
    """A pair ``[A1, A2]`` as answers, or why it is none."""
    if not isinstance(given, list | tuple) or len(given) != 2:
        return NoText("the answers are no pair [A1, A2]")
    first, second = (cleaned(text, what=what) for text, what in zip(given, ("A1", "A2"), strict=True))
    if isinstance(first, NoText):
        return first
    return second if isinstance(second, NoText) else Answers(first, second)


class SavedAnswers:
    """Answers that were written down: ``{video: [A1, A2]}``.

    Args:
        given: a JSON file, or the mapping.

    Raises:
        CoPropError: no such file, or no mapping by videos; single faulty entries are no error (:class:`NoText`).
    """

    def __init__(self, given: str | Path | Mapping[str, Any]) -> None:
        if isinstance(given, Mapping):
            self._answers, where = dict(given), "given answers"
        else:
            form = MapOf(Anything())
            self._answers = read_json(given, form=form, what="answers about videos", limit_bytes=MAX_FILE_BYTES)
            where = f"'{Path(given).name}'"
        self.about = f"answers of {where} ({len(self._answers)} videos)"

    def of(self, clip: Clip) -> Answers | NoText:
        if clip.clip_id not in self._answers:
            return NoText(f"{self.about} hold none for it")
        return checked(self._answers[clip.clip_id])
