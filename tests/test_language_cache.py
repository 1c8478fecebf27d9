"""The cache of answers: asked once, shared by processes, for its owner alone, bounded."""

from __future__ import annotations

import json
import multiprocessing
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coprop_plugin.cli.main import main
from coprop_plugin.errors import CoPropError
from coprop_plugin.language.cache import AnswerCache, Cached, clear, request_key
from coprop_plugin.language.model import (
    Answer,
    AudioLanguageModel,
    BitList,
    Message,
    ModelError,
    Request,
)

REQUEST = Request((Message("user", "What?", "heard"),), np.zeros(1600, np.float32), BitList(5))


class Counting(AudioLanguageModel):
    identity = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, requests):
        self.asked += len(requests)
        return [Answer(f"[1, {r.seed or 0}]", (1.0, 0.25)) for r in requests]


def test_the_second_run_asks_nothing(tmp_path: Path) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in (None, 0, 1)]
    first = Cached(Counting(), AnswerCache(tmp_path))
    answers = first.ask(requests)
    second = Cached(Counting(), AnswerCache(tmp_path))
    assert second.ask(requests) == answers
    assert (first.calls, second.calls, second.model.asked) == (3, 0, 0)
    assert second.ask([*requests, replace(REQUEST, seed=7)])[:3] == answers and second.calls == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, audio=np.full(1600, 0.1, np.float32)),
        replace(REQUEST, messages=(Message("user", "What else?", "heard"),)),
        replace(REQUEST, messages=(Message("user", "What?"),)),
        replace(REQUEST, constraint=BitList(6)),
        replace(REQUEST, constraint=None),
        replace(REQUEST, seed=0),
    ],
)
def test_another_question_is_another_key(other: Request) -> None:
    assert request_key(other, "m") != request_key(REQUEST, "m") != request_key(REQUEST, "n")
    assert request_key(replace(other), "m") == request_key(other, "m")


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "new" / "folder")
    cache.put("k", "m", Answer("[1]"))
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_one_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    AnswerCache(tmp_path).path.chmod(0o644)
    assert stat.S_IMODE(AnswerCache(tmp_path).path.stat().st_mode) == 0o600


def test_a_place_where_nothing_can_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CoPropError, match=r"answers cannot be kept in .*COPROP_CACHE_DIR"):
        AnswerCache(tmp_path / "file" / "cache")


def test_a_job_goes_on_when_the_cache_is_cleared_under_it(tmp_path: Path) -> None:
    model = Cached(Counting(), AnswerCache(tmp_path / "cache"))
    answers = model.ask([REQUEST])
    assert clear(tmp_path / "cache") > 0
    assert model.ask([REQUEST]) == model.ask([REQUEST]) == answers and model.calls == 2
    assert stat.S_IMODE(model.cache.path.stat().st_mode) == 0o600


def test_failures_are_not_kept(tmp_path: Path) -> None:
    class Moody(Counting):
        def ask(self, requests):
            self.asked += len(requests)
            return [ModelError("not now") if self.asked < 3 else Answer("[1]") for _ in requests]

    model = Cached(Moody(), AnswerCache(tmp_path))
    answers = [model.ask([REQUEST])[0] for _ in range(4)]
    assert [isinstance(answer, ModelError) for answer in answers] == [True, True, False, False]
    assert model.calls == model.model.asked == 3


def test_without_a_cache_questions_are_counted_only() -> None:
    model = Cached(Counting(), None)
    assert model.ask([REQUEST, REQUEST]) == model.ask([REQUEST, REQUEST]) and model.calls == model.model.asked == 4


def test_it_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, max_answers=5)
    for i in range(12):
        cache.put(f"k{i}", "m", Answer(str(i)))
    assert sum(cache.count().values()) == 5
    assert cache.get("k6") is None and cache.get("k7") == Answer("7")


def _write_many(folder: Path, name: str) -> None:
    cache = AnswerCache(folder)
    for i in range(20):
        cache.put(f"shared{i}", "m", Answer(f"answer {i}", (1.0, i / 20)))
        cache.put(f"{name}{i}", "m", Answer(name))
        assert cache.get(f"shared{i}") == Answer(f"answer {i}", (1.0, i / 20))


def test_two_processes_at_once_corrupt_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(tmp_path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    cache = AnswerCache(tmp_path)
    assert cache.count() == {"m": 60}
    assert all(cache.get(f"shared{i}") == Answer(f"answer {i}", (1.0, i / 20)) for i in range(20))


def test_a_damaged_file_is_told_and_can_be_cleared(tmp_path: Path) -> None:
    AnswerCache(tmp_path).path.write_bytes(b"this is no database" * 100)
    with pytest.raises(CoPropError, match=r"cannot be used.*coprop cache clear"):
        AnswerCache(tmp_path)
    assert clear(tmp_path) == 1900 and AnswerCache(tmp_path).count() == {}


def test_info_and_clear_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path))
    Cached(Counting(), AnswerCache()).ask([REQUEST])
    assert main(["cache", "info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["answers"], facts["models"], facts["path"]) == (
        1,
        {"counting": 1},
        str(tmp_path / "answers-2.sqlite"),
    )
    assert main(["cache", "info"]) == 0 and "1 answers" in capsys.readouterr().out
    assert main(["cache", "info", "--folder", str(tmp_path / "none")]) == 0 and "0 answers" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()  # a look makes nothing
    assert main(["cache", "clear"]) == 0
    assert not (tmp_path / "answers-2.sqlite").exists()
