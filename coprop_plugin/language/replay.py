"""A model that repeats recorded answers: studies and tests without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files import parse_json, read_text
from ..files.schema import ListOf, Maybe, Number, Record, Text
from .model import Answer, AudioLanguageModel, ModelError, Request, audio_sha256

MAX_FILE_BYTES = 64 << 20
_ANSWER = Record(
    needed={"answer": Text()}, free={"prompt": Text(), "audio": Text(), "p_change": Maybe(ListOf(Number(0, 1)))}
)
_FORM = Record(needed={"answers": ListOf(_ANSWER)}, others=True)


class Replay(AudioLanguageModel):
    """Answers from a JSON file: ``{"answers": [{"answer": …, "prompt": …, "audio": …, "p_change": […]}, …]}``.

    A record fits a question if its ``prompt`` is the last message, or stands in it, and its ``audio`` the sound's hash;
    what is left out fits everything. The first fitting record answers; sample ``seed`` takes the record that many
    places further among the fitting ones.

    Args:
        path: the file, or the records themselves.

    Raises:
        CoPropError: no such file, or no records in it.
    """

    def __init__(self, path: str | Path | Sequence[Mapping[str, Any]]) -> None:
        text, where = (
            json.dumps({"answers": list(path)}) if not isinstance(path, str | Path) else "",
            "recorded answers",
        )
        if isinstance(path, str | Path):
            text, where = read_text(path, what=where, limit_bytes=MAX_FILE_BYTES), f"'{path}'"
        self.records: list[dict[str, Any]] = parse_json(text, where=where, form=_FORM)["answers"]
        self._identity = "replay:" + hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def description(self) -> str:
        return f"recorded answers, no model ({self._identity})"

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Look each question up.

        Raises:
            CoPropError: nothing was recorded for a question.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        question, sound = request.messages[-1].text, audio_sha256(request.audio)
        fitting = [r for r in self.records if r.get("prompt", "") in question and r.get("audio", sound) == sound]
        if not fitting:
            raise CoPropError(f"no answer was recorded for the sound {sound} and the question '{question[-200:]}'.")
        record = fitting[(request.seed or 0) % len(fitting)]
        p_change = record.get("p_change")
        return Answer(record["answer"], None if p_change is None else tuple(map(float, p_change)))
