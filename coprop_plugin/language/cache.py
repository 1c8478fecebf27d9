"""Answers on disk: a question is put to a model once. SQLite, readable by its owner alone, shared by processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files import Folder, parse_json
from ..files.schema import ListOf, Number
from .model import Answer, AudioLanguageModel, ModelError, Request, audio_sha256, pictures_sha256
from .thinking import without_thinking

FILE_NAME = "answers-2.sqlite"
EARLIER_NAME = "answers.sqlite"  # kept answers that were cut off while the model was thinking
MAX_ANSWERS = 500_000  # about 200 MB
WAIT_S = 60.0
TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT, text TEXT, p_change TEXT, written_s REAL, "
    "unfinished INTEGER NOT NULL DEFAULT 0)"
)
_P_CHANGE = ListOf(Number(0, 1))


def cache_folder() -> Path:
    """``COPROP_CACHE_DIR``, else the user's cache folder."""
    if named := os.environ.get("COPROP_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coprop"


class AnswerCache:
    """A table of answers, safe under several processes.

    Args:
        folder: made if it is not there, for its owner alone.
        max_answers: bound; the oldest go first.

    Raises:
        CoPropError: the folder cannot be made or written, or the file there is no cache.
    """

    def __init__(self, folder: str | Path | None = None, *, max_answers: int = MAX_ANSWERS) -> None:
        self.folder = cache_folder() if folder is None else Path(folder)
        self.max_answers = max_answers
        with self._open():
            pass

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME

    def _make(self) -> None:
        """The file, before SQLite opens it: so it never is readable by others, not even for a moment."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = Folder(self.folder).open(FILE_NAME, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600)
            try:
                os.fchmod(file, 0o600)  # one that was copied here may be readable by others
            finally:
                os.close(file)
        except OSError as error:
            raise CoPropError(
                f"answers cannot be kept in '{self.folder}' ({error.strerror}); name another folder with "
                "COPROP_CACHE_DIR, or rcpg:cache=off."
            ) from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: nothing is shared between threads or held over a fork.

        The file may have been cleared away since the last one.
        """
        self._make()
        table = sqlite3.connect(self.path, timeout=WAIT_S)
        deadline = time.monotonic() + WAIT_S
        table.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)  # whatever the file makes it compute
        try:
            with table:
                table.execute("PRAGMA trusted_schema = OFF")
                table.execute(TABLE)
                _check(table)
                yield table
        except sqlite3.DatabaseError as error:
            raise CoPropError(
                f"the answer cache '{self.path}' cannot be used ({error}); `coprop cache clear`."
            ) from error
        finally:
            table.close()

    def get(self, key: str) -> Answer | None:
        """The answer under a key."""
        with self._open() as table:
            row = table.execute("SELECT text, p_change, unfinished FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None or not isinstance(row[0], str):
            return None
        try:
            p_change = None if row[1] is None else tuple(parse_json(str(row[1]), where="a kept answer", form=_P_CHANGE))
        except CoPropError:
            return None  # damaged: asked again
        return Answer(row[0], p_change, unfinished=bool(row[2]))

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; the first one under a key stays, so that processes agree."""
        p_change = None if answer.p_change is None else json.dumps(answer.p_change)
        with self._open() as table:
            row = (key, model, answer.text, p_change, time.time(), int(answer.unfinished))
            table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
            table.execute(
                "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?",
                (self.max_answers,),
            )

    def count(self) -> dict[str, int]:
        """Answers by model."""
        with self._open() as table:
            rows = table.execute("SELECT model, count(*) FROM answers GROUP BY model ORDER BY model").fetchall()
        return {str(model): int(count) for model, count in rows}


def _check(table: sqlite3.Connection) -> None:
    """A cache holds its one table: a view or a trigger from elsewhere would be run when it is asked."""
    found = table.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    columns = [row[1] for row in table.execute("PRAGMA table_info(answers)")]
    if found != [("table", "answers")] or columns != ["key", "model", "text", "p_change", "written_s", "unfinished"]:
        raise sqlite3.DatabaseError("it holds other things than a table of answers")


def info(folder: str | Path | None = None) -> dict[str, Any]:
    """Where the cache lies, its size, and answers by model; nothing is made where there is none.

    Raises:
        CoPropError: the file there is no cache.
    """
    path = (cache_folder() if folder is None else Path(folder)) / FILE_NAME
    models = AnswerCache(path.parent).count() if path.is_file() else {}
    size = path.stat().st_size if path.is_file() else 0
    return {"path": str(path), "bytes": size, "answers": sum(models.values()), "models": models}


def clear(folder: str | Path | None = None) -> int:
    """Remove the cache's file, damaged or not; returns how many bytes that freed."""
    path = (cache_folder() if folder is None else Path(folder)) / FILE_NAME
    freed = path.stat().st_size if path.is_file() else 0
    for name in (path, path.with_name(f"{FILE_NAME}-journal"), path.with_name(EARLIER_NAME)):
        name.unlink(missing_ok=True)
    return freed


class Cached(AudioLanguageModel):
    """A model whose questions are counted and whose answers are kept (``cache`` is ``None``: counted only).

    Args:
        worth_keeping: of answers without what was thought before; others are asked for again.
    """

    def __init__(
        self,
        model: AudioLanguageModel,
        cache: AnswerCache | None,
        *,
        worth_keeping: Callable[[Answer], bool] = lambda answer: True,
    ) -> None:
        self.model, self.cache, self._worth_keeping = model, cache, worth_keeping

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def description(self) -> str:
        return self.model.description

    @property
    def window_s(self) -> float:  # type: ignore[override]
        return self.model.window_s

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Answers from the cache, and from the model for the questions that are new, in one batch."""
        if self.cache is None:
            self.calls += len(requests)
            return [_settled(answer) for answer in self.model.ask(requests)]
        keys = [request_key(request, self.identity) for request in requests]
        known: dict[str, Answer | ModelError] = {key: kept for key in keys if (kept := self.cache.get(key))}
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if new:
            self.calls += len(new)
            for key, given in zip(new, self.model.ask(list(new.values())), strict=True):
                answer = _settled(given)
                # A long description that was cut off is kept as what it is; what stopped in a thought is asked again.
                whole = isinstance(answer, Answer) and not (answer.unfinished and _in_thought(given, new[key]))
                if isinstance(answer, Answer) and whole and self._worth_keeping(answer):
                    self.cache.put(key, self.identity, answer)
                known[key] = answer
        return [known[key] for key in keys]


def _settled(answer: Answer | ModelError) -> Answer | ModelError:
    """The answer without what the model thought before it; unfinished where it was still thinking."""
    if isinstance(answer, ModelError):
        return answer
    said, thinking = without_thinking(answer.text)
    return replace(answer, text=said, unfinished=answer.unfinished or thinking)


def _in_thought(answer: Answer | ModelError, request: Request) -> bool:
    """Whether an answer that was cut off holds nothing to keep: a list in the making, or a thought."""
    return request.constraint is not None or (isinstance(answer, Answer) and without_thinking(answer.text)[1])


def request_key(request: Request, identity: str) -> str:
    """All that an answer depends on: sound, pictures, prompts with their examples, model and decoding, constraint, sample."""
    question: dict[str, Any] = {
        "audio": audio_sha256(request.audio),
        "prompts": request.prompts,
        "messages": [[m.role, m.text, m.audio] for m in request.messages],
        "model": identity,
        "constraint": request.constraint and request.constraint.length,
        "seed": request.seed,
    }
    if request.pictures:
        shown = [m.pictures for m in request.messages]
        question |= {"pictures": pictures_sha256(request.pictures), "shown": shown}
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
