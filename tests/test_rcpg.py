"""RCPG from question to control points, on recorded answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin import parts
from coprop_plugin.cli.main import main
from coprop_plugin.control_points.fixed import EveryK
from coprop_plugin.control_points.language import prompts
from coprop_plugin.control_points.language.document import Document
from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.control_points.language.retrieval import Entry
from coprop_plugin.control_points.language.windows import merge, plan_windows
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.errors import CoPropError
from coprop_plugin.language.model import Answer, AudioLanguageModel, ModelError, audio_sha256
from coprop_plugin.structures import Clip, Sound

DOCUMENT = Document("avss", (Entry("one", ("dog",), (1, 0, 1, 0, 0)), Entry("two", ("cat", "dog"), (1, 1, 0, 0, 0))))


class Scripted(AudioLanguageModel):
    """Answers by what the question says; keeps all requests."""

    identity = "scripted"

    def __init__(self, mark, categories="dog, cat", window_s=30.0) -> None:
        self.mark, self.categories, self.window_s = mark, categories, window_s
        self.requests = []

    def ask(self, requests):
        self.requests += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        question = request.messages[-1].text
        if "format" not in question:
            return Answer(self.categories if "categories of" in question else "Animals.")
        answer = self.mark(request) if callable(self.mark) else self.mark
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer)

    @property
    def questions(self) -> list[str]:
        return [request.messages[-1].text for request in self.requests]


def sound_clip(seconds: float = 5, *, sampling: str = "avsbench", seed: int = 0) -> Clip:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 8000)).astype(np.float32)
    return clip_of_sound(Sound(samples, 8000), sampling=sampling, clip_id="query")


def rcpg(model: AudioLanguageModel, **options) -> RCPG:
    return RCPG(model=model, cache="off", **options)


def test_the_papers_steps_in_one_conversation_with_examples_of_the_same_categories() -> None:
    model = Scripted("[1, 0, 1, 0, 0]")
    points = rcpg(model, examples=DOCUMENT)(sound_clip())
    assert points.flags.tolist() == [True, False, True, False, False]
    assert points.categories == (("dog", "cat"), ("dog", "cat"))
    assert points.origin.generator == "rcpg" and points.origin.repairs == () and points.origin.fallback is None
    describe, categories, mark = model.questions
    assert describe == prompts.DESCRIBE
    assert categories.endswith("Choose from: cat, dog.")
    assert mark.splitlines()[:2] == [
        "Example 1: categories cat and dog, control points [1, 1, 0, 0, 0]",
        "Example 2: categories dog, control points [1, 0, 1, 0, 0]",
    ]
    last = model.requests[-1]
    assert [m.role for m in last.messages] == ["user", "assistant"] * 2 + ["user"]
    assert [m.audio for m in last.messages] == ["heard"] + ["none"] * 4
    assert last.constraint.length == 5 and last.seed is None and model.requests[0].constraint is None


@pytest.mark.parametrize(
    ("variant", "questions"),
    [
        ("one_step", [prompts.mark_question(5, variant="one_step")]),
        (
            "three_step",
            [prompts.ABLATION_DESCRIBE, prompts.ABLATION_COUNT, prompts.mark_question(5, variant="three_step")],
        ),
    ],
)
def test_the_papers_ablations(variant: str, questions: list[str]) -> None:
    model = Scripted("[1, 0, 0, 0, 1]")
    points = rcpg(model, variant=variant, examples=DOCUMENT)(sound_clip())
    assert model.questions == questions and points.frames == (0, 4) and points.categories is None


def test_the_query_is_no_example_by_id_or_by_sound() -> None:
    clip = sound_clip()
    heard = audio_sha256(clip.sound.samples, clip.sound.rate_hz)
    entries = (
        *DOCUMENT.entries,
        Entry("query", ("cat", "dog"), (1, 1, 1, 1, 1)),
        Entry("x", ("dog",), (1, 1, 1), "", heard),
    )
    model = Scripted("[1, 0, 0, 0, 0]")
    rcpg(model, examples=Document("avss", entries), num_examples=9)(clip)
    assert "Example 2" in model.questions[-1] and "Example 3" not in model.questions[-1]
    assert "[1, 1, 1" not in model.questions[-1]


MALFORMED = [
    ("wrong length", "[1, 0, 0]", "wrong_length (3 values for 5 frames)"),
    ("prose", "It changes in frames 2 and 4.", "no_list"),
    ("repeated prompt", None, "repeats_prompt"),
    ("empty", "", "empty"),
    ("NaN", "[NaN, 0, 0, 0, 0]", "not_binary"),
    ("server fails", ModelError("the server answers 500"), "the server answers 500"),
]


@pytest.mark.parametrize(("given_answer", "why"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_a_malformed_answer_is_asked_for_once_more_then_the_fallback_stands_in(given_answer, why: str) -> None:
    def always(request):
        return request.messages[-1].text if given_answer is None else given_answer

    model = Scripted(always)
    points = rcpg(model, fallback="every_k:k=2")(sound_clip())
    assert points.frames == (0, 2, 4)
    assert points.origin.fallback == "every_k" and points.origin.generator == "rcpg"
    assert points.origin.repairs[0].startswith(f"asked again after {why}")
    assert points.origin.repairs[-1].startswith(f"no list: {why}")
    assert points.categories == (("dog", "cat"),) * 3
    assert len(model.requests) == 4 and model.questions[3] == prompts.retry_question(model.questions[2], 5)

    def then_well(request):
        return "[1, 0, 0, 0, 1]" if prompts.RETRY[:20] in request.messages[-1].text else always(request)

    mended = rcpg(Scripted(then_well), fallback=None)(sound_clip())
    assert mended.frames == (0, 4) and mended.origin.fallback is None
    assert mended.origin.repairs[0].startswith(f"asked again after {why}") and len(mended.origin.repairs) == 1

    with pytest.raises(CoPropError, match="clip 'query': rcpg got no list of control points"):
        rcpg(Scripted(always), fallback=None)(sound_clip())


def test_a_model_that_fails_in_the_first_round_is_not_asked_further() -> None:
    class Down(AudioLanguageModel):
        identity, asked = "down", 0

        def ask(self, requests):
            self.asked += 1
            raise ModelError("no answer in time")

    model = Down()
    points = rcpg(model)(sound_clip())
    assert model.asked == 1 and points.origin.fallback == "boundary"
    assert points.origin.repairs == ("no list: no answer in time",) and points.categories is None


def test_a_model_that_cannot_be_used_at_all_is_an_error_and_no_fallback() -> None:
    with pytest.raises(CoPropError, match="unknown model"):
        rcpg(Scripted(CoPropError("unknown model")))(sound_clip())


def test_the_first_value_is_forced_and_told() -> None:
    points = rcpg(Scripted("[0, 0, 1, 0, 0]"))(sound_clip())
    assert points.frames == (0, 2) and points.origin.repairs == ("first value set to 1",)


def test_chances_become_confidence() -> None:
    points = rcpg(Scripted(Answer("[1, 0, 1, 0, 0]", (1, 0.25, 0.75, 0, 0.5))))(sound_clip())
    assert points.confidence.tolist() == [1, 0.75, 0.75, 1, 0.5]


def test_agreement_is_the_majority_of_samples_and_its_share() -> None:
    lists = ["[1, 0, 1, 0, 0]", "[1, 0, 1, 0, 1]", "[1, 0, 0, 0]", "[1, 1, 1, 0, 0]"]
    model = Scripted(lambda request: lists[request.seed])
    points = rcpg(model, agreement=4)(sound_clip())
    assert points.frames == (0, 2)
    assert np.allclose(points.confidence, [1, 2 / 3, 1, 1, 2 / 3])
    assert [request.seed for request in model.requests] == [None, None, 0, 1, 2, 3]
    half = rcpg(Scripted(lambda request: lists[2 if request.seed % 2 else 0]), agreement=4)(sound_clip())
    assert half.origin.fallback == "boundary"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), st.integers(3, 60), st.integers(2, 30))
def test_windows_own_each_second_once_and_never_their_first(seconds: int, window_s: int, overlap_s: int) -> None:
    overlap_s = min(overlap_s, window_s - 1)
    windows = plan_windows(seconds, window_s=window_s, overlap_s=overlap_s)
    owned = [s for w in windows for s in range(w.own_start, w.own_stop)]
    assert owned == list(range(seconds))
    assert all(w.start <= w.own_start < w.own_stop <= w.stop for w in windows)
    assert all(w.own_start > w.start for w in windows[1:])
    assert all(len(w) == min(window_s, seconds) for w in windows)
    truth = np.arange(seconds)
    assert np.array_equal(merge(windows, [truth[w.start : w.stop] for w in windows]), truth)


def test_long_clips_are_windowed_and_merged() -> None:
    clip = sound_clip(25)
    changes = {3, 9, 10, 17, 24}

    def mark(request):
        start = next(w.start for w, audio in heard if np.array_equal(audio, request.audio))
        return str([int(i == 0 or start + i in changes) for i in range(request.constraint.length)])

    model = Scripted(mark, window_s=10)
    generator = rcpg(model, overlap_s=4)
    heard = [(talk.window, talk.audio) for talk in generator._talks(clip)]
    points = generator(clip)
    assert set(points.frames) == changes | {0}
    assert points.origin.repairs == ("4 windows of 10 s",)
    assert len(model.requests) == 12 and max(len(r.audio) for r in model.requests) == 160_000


def test_seconds_become_frames_of_any_time_base_once() -> None:
    model = Scripted(Answer("[1, 0, 1, 0]", (1, 0.25, 0.75, 0.25)))
    points = rcpg(model)(sound_clip(4, sampling="uniform:5"))
    assert points.frames == (0, 10)
    assert points.confidence[[5, 10, 15]].tolist() == [0.75, 0.75, 0.75] and points.confidence[[1, 6, 19]].tolist() == [
        1,
        1,
        1,
    ]
    assert rcpg(Scripted("[1]"))(sound_clip(0.5)).frames == (0,)


def test_several_clips_are_asked_together_as_one_by_one() -> None:
    def mark(request):
        return "[1, 0, 1, 0, 0]" if request.audio[0] > 0 else "no idea"

    clips = [sound_clip(seed=seed) for seed in range(4)]
    together = rcpg(Scripted(mark)).many(clips)
    single = [rcpg(Scripted(mark))(clip) for clip in clips]
    assert [p.to_json() for p in together] == [p.to_json() for p in single]
    assert {p.origin.fallback for p in together} == {None, "boundary"}
    twice = rcpg(Scripted(mark)).many([clips[0], clips[0]])
    assert twice[0].to_json() == twice[1].to_json() == single[0].to_json()


def test_silence_that_the_model_hears_is_told() -> None:
    points = rcpg(Scripted("[1, 0, 0, 0, 0]", categories="silence"))(sound_clip())
    assert points.silent == (True,) and points.categories == ((),)
    assert rcpg(Scripted("[1, 0, 0, 0, 0]", categories=""))(sound_clip()).origin.repairs == (
        "no categories understood",
    )


def test_a_second_run_asks_nothing_even_after_malformed_answers(tmp_path: Path) -> None:
    first, second = Scripted("no list here"), Scripted("no list here")
    asking, kept = RCPG(model=first, cache=tmp_path), RCPG(model=second, cache=tmp_path)
    points, again = asking(sound_clip()), kept(sound_clip())
    assert (asking.calls, kept.calls) == (4, 0)
    assert len(first.requests) == 4 and second.requests == []
    assert again.to_json() == points.to_json()


def test_recorded_answers_run_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import soundfile

    samples = np.random.default_rng(1).normal(0, 0.1, 40000)
    soundfile.write(tmp_path / "sound.wav", samples, 8000)
    records = [{"prompt": "in the format of a list", "answer": "[1, 0, 0, 1, 0]"}, {"answer": "dog"}]
    (tmp_path / "answers.json").write_text(json.dumps({"answers": records}))
    words = ["points", str(tmp_path / "sound.wav"), "--control-points", f"rcpg:replay={tmp_path / 'answers.json'}"]
    assert main([*words, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    assert points["flags"] == [1, 0, 0, 1, 0] and points["categories"] == [["dog"], ["dog"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--control-points", "rcpg"], "name a folder or hub id"),
        (["--control-points", "rcpg", "--lm-model", "/no/such/model"], "no model at '/no/such/model'"),
        (
            ["--control-points", "changepoint", "--lm-model", "x"],
            "belong to --control-points rcpg, not to 'changepoint'",
        ),
        (["--control-points", "rcpg:replay=none.json"], "cannot be read from 'none.json'"),
        (
            ["--control-points", "rcpg:variant=two_step,model=x/y"],
            "variant is one of one_step, three_step, rcpg, got 'two_step'",
        ),
        (["--control-points", "rcpg:decoding=some,model=x/y"], "decoding is one of constrained, free"),
        (["--control-points", "rcpg:agreement=0,model=x/y"], "agreement is a whole number from 1 to 101, got 0"),
        (
            ["--control-points", "rcpg:agreement=2.5,model=x/y"],
            "agreement is a whole number (of 63 bits at most), got 2.5",
        ),
        (
            ["--control-points", "rcpg:window_s=ten,model=x/y"],
            "window_s is a whole number (of 63 bits at most) or None, got 'ten'",
        ),
        (
            ["--control-points", "rcpg:num_examples=-1,model=x/y"],
            "num_examples is a whole number from 0 to 100, got -1",
        ),
        (["--control-points", "rcpg:replay=a.json,device=cpu"], "need no model, no server and no options"),
    ],
)
def test_bad_words_on_the_command_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path))
    assert main(["points", str(tmp_path / "sound.wav"), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_whole_benchmark_takes_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rescore", "preds", "--data-root", "data", "-o", str(tmp_path / "out"), "--lm-model", "/no/such/model"]
    assert main([*words, "--control-points", "rcpg"]) == 2
    assert "preds" in capsys.readouterr().err  # the model is looked at when the plan is made, after the folders
    assert main(words) == 2
    assert "belong to --control-points rcpg, not to 'boundary'" in capsys.readouterr().err


def test_other_options_of_no_back_end_are_told(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="has no option 'wings'"):
        parts.build("control_points", {"name": "rcpg", "server": "http://127.0.0.1:1/v1", "wings": 2, "cache": "off"})


def test_the_fallback_may_be_any_generator() -> None:
    assert rcpg(Scripted(""), fallback=EveryK(k=5))(sound_clip()).origin.fallback == "every_k"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not JSON"),
        ("[]", "it is a mapping with answers; got a list of 0"),
        ('{"answers": [{"prompt": "x"}]}', r"answers\[0\]\.answer is missing"),
        ('{"answers": [{"answer": "x", "wings": 2}]}', r"answers\[0\]\.wings is unknown; allowed are prompt"),
        ('{"answers": [{"answer": "x", "p_change": 1}]}', r"p_change is a list .*; got 1 \(a whole number\)"),
    ],
)
def test_bad_recordings_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(text)
    with pytest.raises(CoPropError, match=message):
        RCPG(replay=tmp_path / "answers.json")


def test_what_was_not_recorded_is_told() -> None:
    with pytest.raises(CoPropError, match="no answer was recorded for the sound"):
        RCPG(replay=[{"prompt": "something else", "answer": "x"}])(sound_clip())
