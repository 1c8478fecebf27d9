"""Models that think aloud, are cut off, or write lists in their own way; and what is told where they fail."""

from __future__ import annotations

import numpy as np
import pytest
from language_server import Reply, completion, serving, text

import coprop_plugin as cp
from coprop_plugin.cli.main import main
from coprop_plugin.control_points.language.document import Document
from coprop_plugin.control_points.language.parse import Failure, Marked, read_categories, read_flags
from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.control_points.language.retrieval import Entry
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.language.cache import AnswerCache, Cached
from coprop_plugin.language.model import (
    Answer,
    AudioLanguageModel,
    BitList,
    Message,
    ModelError,
    Request,
)
from coprop_plugin.language.server import ServerModel
from coprop_plugin.structures import ControlPoints, Prediction, Sound
from coprop_plugin.study.clips import Known
from coprop_plugin.study.points import agreement

AUDIO = np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32)
QUESTION = Request((Message("user", "Which frames?", "heard"),), AUDIO, BitList(5))
LIST = "[1, 0, 0, 1, 0]"
LINES = "\n".join(f"Frame {k}: {b}" for k, b in enumerate((1, 0, 0, 1, 0), start=1))


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>[1, 1, 1, 1, 1]? No.</think>\n{LIST}",
        f"It may be [1, 1, 1, 1, 1].\n</think>\n\n{LIST}",  # the prompt opened the thought
        f"<thinking>a</thinking><Think>[0]</Think> {LIST}",
        "[1，0，0，1，0]",
        "［１，０，０，１，０］",
        "【1、0、0、1、0】",
        LINES,
        "**Frame 1:** 1\n**Frame 2:** 0\n- Frame 3 - 0\nframe #4 = 1 (a dog begins)\nFrame 5: 0.",
        LINES.replace("Frame", "Second").replace(":", "："),
        "\n".join(f"frame {k}: {b}" for k, b in enumerate((1, 0, 0, 1, 0))),
        f"Frame 1: 0\nFrame 2: 0\n\nNo, again:\n{LINES}",
    ],
)
def test_lists_are_found_behind_thoughts_and_in_other_writing(answer: str) -> None:
    read = read_flags(answer, 5)
    assert isinstance(read, Marked), str(read)
    assert read.flags.astype(int).tolist() == [1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("<think>[1, 0, 0, 1, 0]. But wait", "unfinished"),
        (f"{LIST} <think>no,", "unfinished"),
        ("\n".join(LINES.splitlines()[:4]), "wrong_length"),
        ("In frame 1: 1 dog barks, in frame 4: 1 cat.", "no_list"),
        ("<think>[1, 0, 0, 1, 0]</think>", "repeats_prompt"),
    ],
)
def test_thoughts_alone_are_no_answer(answer: str, kind: str) -> None:
    read = read_flags(answer, 5)
    assert isinstance(read, Failure) and read.kind == kind, str(read)
    assert read_categories("<think>A dog, a cat?</think> A dog") == ("dog",)


def cut(answer: str) -> Reply:
    told = completion(answer)
    told["choices"][0]["finish_reason"] = "length"
    return Reply(told)


@pytest.mark.needs("serve")
def test_an_answer_that_was_cut_off_is_asked_again_with_room_and_never_kept(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    with serving(lambda body, n: cut(f"{LIST}. But wait, perhaps")) as server:
        model = Cached(ServerModel(server.url, model="m", constrained="none", retries=0), cache)
        answer = model.chat(QUESTION.messages, AUDIO, BitList(5))
        assert answer.unfinished and cache.count() == {}
        assert [body["max_tokens"] for body in server.chats] == [128, 2048]

    def in_time(body, n):
        return cut("<think>long") if body["max_tokens"] < 1000 else text(f"<think>long indeed</think>{LIST}")

    with serving(in_time) as server:
        model = Cached(ServerModel(server.url, model="m", constrained="none", retries=0), cache)
        assert model.ask([QUESTION]) == [Answer(LIST)] and len(server.chats) == 2
        assert model.ask([QUESTION]) == [Answer(LIST)] and len(server.chats) == 2  # kept, without its thoughts


@pytest.mark.needs("serve")
def test_a_stream_tells_that_it_was_cut_off() -> None:
    import json

    def streamed(body, n):
        chunks = [{"choices": [{"delta": {"content": LIST}}]}, {"choices": [{"delta": {}, "finish_reason": "length"}]}]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return Reply("".join([*lines, "data: [DONE]\n\n"]).encode(), headers={"Content-Type": "text/event-stream"})

    with serving(streamed) as server:
        model = ServerModel(server.url, model="m", delivery="streamed", constrained="none", retries=0)
        assert model.chat(QUESTION.messages, AUDIO).unfinished


class Says(AudioLanguageModel):
    """Answers the questions in turn; the last answer again and again."""

    identity = "says"

    def __init__(self, *answers: Answer | str | ModelError) -> None:
        self.answers, self.asked = [Answer(a) if isinstance(a, str) else a for a in answers], 0

    def ask(self, requests):
        self.asked += len(requests)
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] for _ in requests]


def clip():
    return clip_of_sound(Sound(AUDIO, 16000), sampling="avsbench", clip_id="c")


def test_an_unfinished_list_is_asked_for_again_then_the_fallback_stands_in_and_is_told() -> None:
    half = Answer(f"{LIST}. But wait", unfinished=True)
    model = Says("A dog.", "dog", half, LIST)
    points = RCPG(model=model, cache="off")(clip())
    assert points.origin.fallback is None and points.frames == (0, 3) and model.asked == 4
    assert points.origin.repairs[0].startswith("asked again after unfinished")
    never = RCPG(model=Says("A dog.", "dog", half), cache="off", fallback="every_k:k=2")
    result = cp.CoProp(control_points=never, propagator="hold")(
        clip(), Prediction.from_labels(np.zeros((5, 4, 4), np.uint8))
    )
    assert "control points: every_k stood in for rcpg" in result.notes
    assert any("no list: unfinished" in note for note in result.notes)


def test_examples_that_match_nothing_are_told() -> None:
    document = Document("avss", (Entry("v", ("piano",), (1, 0, 0)),))
    points = RCPG(model=Says("A dog.", "dog, cat", LIST), cache="off", examples=document)(clip())
    assert points.origin.notes == ("rcpg: no examples matched these categories: dog, cat",)


@pytest.mark.needs("serve")
@pytest.mark.parametrize("status", [404, 405, 500, 501])
def test_a_server_without_the_list_of_models_is_asked(status: int) -> None:
    with serving(lambda body, n: text(LIST), models=None, list_status=status) as server:
        model = ServerModel(server.url, retries=0)
        assert model.chat(QUESTION.messages, AUDIO, BitList(5)).text == LIST
        assert server.chats[0]["model"] == "default"


def test_a_study_scores_no_stand_in_under_the_models_name() -> None:
    known = [Known(clip(), ControlPoints(np.array([1, 0, 0, 1, 0])))]
    row = agreement(RCPG(model=Says("A dog."), cache="off", fallback="every_k:k=3"), known * 2)
    assert row["fallbacks"] == row["clips"] == 2 and row["F1@0"] is row["exact_list"] is None
    halves = Says("A dog.", "dog", LIST, "A dog.", "dog", "no")
    both = RCPG(model=halves, cache="off", fallback="every_k:k=1")
    row = agreement(both, known)
    assert row["F1@0"] == 1.0 and row["fallbacks"] == 0


@pytest.mark.needs("serve")
def test_refine_prints_who_stood_in_and_the_report_says_it(tmp_path, capsys) -> None:
    from media_clips import tone, write_clip

    video = write_clip(tmp_path / "a.mp4", num_frames=50, sounds=[tone(2.0)])
    np.save(tmp_path / "m.npy", np.zeros((2, 12, 24), np.uint8))
    with serving(lambda body, n: Reply({}, status=500)) as server:
        generator = f"rcpg:server='{server.url}',retries=0,cache=off"
        arguments = [
            "refine",
            str(video),
            "--masks",
            str(tmp_path / "m.npy"),
            "--control-points",
            "rcpg:retries=0,cache=off",
        ]
        assert main([*arguments, "--lm-server", server.url, "-o", str(tmp_path / "out"), "--no-overlay"]) == 0, (
            generator
        )
    printed = capsys.readouterr().out
    assert "boundary stood in for rcpg" in printed.replace("\n", " ")
    assert "boundary stood in for rcpg" in (tmp_path / "out/report.html").read_text()
