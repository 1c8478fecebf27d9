"""A model that repeats recorded answers: studies and tests without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from .model import Answer, AudioLanguageModel, ModelError, Request, audio_sha256

MAX_FILE_BYTES = 64 << 20
_FIELDS = {"answer", "prompt", "audio", "p_change"}


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
        text = json.dumps({"answers": list(path)}) if not isinstance(path, str | Path) else _read(Path(path))
        where = str(path) if isinstance(path, str | Path) else "the recorded answers"
        self.records = _records(text, where)
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


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CoPropError(f"'{path}' is larger than {MAX_FILE_BYTES >> 20} MB; recorded answers are short texts.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CoPropError(f"recorded answers cannot be read from '{path}': {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CoPropError(f"'{path}' is no text file; recorded answers are JSON.") from error


def _records(text: str, where: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CoPropError(f"{where}: recorded answers are JSON; this is not: {error}") from error
    records = data.get("answers") if isinstance(data, dict) else None
    if not isinstance(records, list) or not all(_is_record(record) for record in records):
        raise CoPropError(
            f"{where}: recorded answers are {{'answers': [{{'answer': TEXT, …}}, …]}} with the fields {sorted(_FIELDS)}."
        )
    return records


def _is_record(record: object) -> bool:
    if not isinstance(record, dict) or set(record) - _FIELDS:
        return False
    p_change = record.get("p_change")
    numbers = p_change is None or (isinstance(p_change, list) and all(isinstance(p, int | float) for p in p_change))
    texts = [record.get("answer"), record.get("prompt", ""), record.get("audio", "")]
    return numbers and all(isinstance(text, str) for text in texts)
