"""Audio language models behind HTTP: what is sent, what is borne, what is never told."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from language_server import Reply, Server, completion, serving, text

from coprop_plugin.cli.main import main
from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.errors import CoPropError
from coprop_plugin.language import transport
from coprop_plugin.language.cache import AnswerCache, Cached
from coprop_plugin.language.model import BitList, Message, ModelError, Request
from coprop_plugin.language.server import ServerModel
from coprop_plugin.structures import Sound

pytestmark = pytest.mark.needs("serve")
SECRET = "sk-very-secret-1234"
AUDIO = np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32)
QUESTION = Request((Message("user", "Which frames?", "heard"),), AUDIO, BitList(5))
LIST = "[1, 0, 0, 1, 0]"


def ask(server: Server, **options):
    model = ServerModel(server.url, **({"timeout_s": 5.0, "retries": 0} | options))
    return model.chat(QUESTION.messages, QUESTION.audio, QUESTION.constraint).text


def test_the_request_is_openais_with_the_sound_as_wav(caplog: pytest.LogCaptureFixture) -> None:
    talk = (Message("user", "Describe.", "heard"), Message("assistant", "A dog."), Message("user", "Mark."))
    with serving(lambda body, n: text(LIST)) as server, caplog.at_level(logging.WARNING):
        model = ServerModel(server.url)
        assert model.chat(talk, AUDIO, BitList(5), seed=3).text == LIST
        model.chat(talk, AUDIO)
    sampled, greedy = server.chats
    assert (sampled["model"], sampled["seed"], sampled["temperature"], greedy["temperature"]) == ("tiny", 3, 0.7, 0.0)
    sound, words = sampled["messages"][0]["content"]
    assert words == {"type": "text", "text": "Describe."} and sound["input_audio"]["format"] == "wav"
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(sound["input_audio"]["data"])))
    assert rate_hz == 16000 and np.abs(samples - AUDIO).max() <= 0.5 / 32768
    assert sampled["messages"][1:] == [
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": [{"type": "text", "text": "Mark."}]},
    ]
    assert sampled["structured_outputs"] == {"regex": r"\[1(, [01]){4}\]"} and "structured_outputs" not in greedy
    told = [record.getMessage() for record in caplog.records if record.name == "coprop_plugin"]
    assert told == [f"the sound of your clips is sent to {server.url}"]  # once


@pytest.mark.parametrize("refusal", [400, 422])
def test_a_refused_constraint_gives_way_to_the_next_and_stays_so(refusal: int) -> None:
    def only_schema(body, n):
        if "structured_outputs" in body or "guided_regex" in body:
            return Reply({"detail": "Unexpected fields in the request"}, status=refusal)
        return text('{"control_points": [1, 0, 0, 1, 0]}')

    with serving(only_schema) as server:
        model = ServerModel(server.url, model="tiny")
        assert model.ask([QUESTION])[0] == model.ask([QUESTION])[0]
    kinds = [
        next((k for k in ("structured_outputs", "guided_regex", "response_format") if k in b), "") for b in server.chats
    ]
    assert kinds == ["structured_outputs", "guided_regex", "response_format", "response_format"]
    schema = server.chats[-1]["response_format"]["json_schema"]["schema"]["properties"]["control_points"]
    assert schema == {"type": "array", "items": {"type": "integer", "enum": [0, 1]}, "minItems": 5, "maxItems": 5}

    refused = {"all": True}

    def grumpy(body, n):
        return Reply({"detail": "too long"}, status=refusal) if refused["all"] else text(LIST)

    with serving(grumpy) as server:
        model = ServerModel(server.url, model="tiny")
        with pytest.raises(CoPropError, match=f"refuses the question \\({refusal}\\)"):
            model.ask([QUESTION])
        assert len(server.chats) == 4
        refused["all"] = False
        model.ask([QUESTION])
    assert "structured_outputs" in server.chats[-1]  # it was the question that was refused, not the constraint


def test_a_constraint_that_is_ignored_gives_way_too() -> None:
    """llama.cpp, and vLLM of other versions, take fields that they do not know, and answer freely."""

    def only_schema(body, n):
        return text('{"control_points": [1, 0, 0, 1, 0]}' if "response_format" in body else "It changes at second 3.")

    with serving(only_schema) as server:
        model = ServerModel(server.url, model="tiny")
        assert model.ask([QUESTION, QUESTION])[0] == model.ask([QUESTION])[0]
        asked = len(server.chats)
        model.ask([QUESTION])
        assert len(server.chats) == asked + 1 and "response_format" in server.chats[-1]

    with serving(lambda body, n: text("It changes at second 3.")) as server:
        model = ServerModel(server.url, model="tiny")
        assert [model.ask([QUESTION])[0].text for _ in range(2)] == ["It changes at second 3."] * 2
    assert len(server.chats) == 3 + 1  # nothing is kept: the last free answer counts, and later ones are asked freely
    assert not {"structured_outputs", "guided_regex", "response_format"} & set(server.chats[-1])


def test_a_long_list_has_room_in_a_short_answer() -> None:
    with serving(lambda body, n: text(LIST)) as server:
        ask(server, max_new_tokens=8)
        ServerModel(server.url, max_new_tokens=8).chat(QUESTION.messages, AUDIO)
    assert [body["max_tokens"] for body in server.chats] == [52, 8]


def events(*pieces: str, end: str = "data: [DONE]\n\n") -> Reply:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    told = [{"choices": [{"delta": {"role": "assistant"}}]}, *chunks, {"choices": [], "usage": {"total_tokens": 9}}]
    raw = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in told) + end
    return Reply(raw.encode(), headers={"Content-Type": "text/event-stream; charset=utf-8"})


def test_services_that_only_stream_are_heard_out() -> None:
    with serving(lambda body, n: events("[1, 0,", " 0, 1, 0]")) as server:
        assert ask(server, delivery="streamed", sound="data_url") == LIST
    (body,) = server.chats
    assert body["stream"] is True and body["modalities"] == ["text"]
    sound = body["messages"][0]["content"][0]["input_audio"]
    assert sound["data"].startswith("data:audio/wav;base64,UklGR") and sound["format"] == "wav"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (events("[1, 0", end=""), "no JSON"),
        (events("x" * 2_000_000), "larger than is read"),
        (Reply(b"data: nonsense\n\ndata: [DONE]\n\n", headers={"Content-Type": "text/event-stream"}), "no JSON"),
        (Reply({"error": "down"}, status=503), "answers 503: .*down"),
    ],
)
def test_broken_streams_are_named_and_bounded(reply: Reply, message: str) -> None:
    with serving(lambda body, n: reply) as server, pytest.raises(ModelError, match=message):
        ask(server, delivery="streamed")


@pytest.mark.parametrize(("name", "value"), [("delivery", "eventually"), ("sound", "mp3"), ("constrained", "softly")])
def test_unknown_words_are_told(name: str, value: str) -> None:
    with pytest.raises(CoPropError, match=f"unknown .*'{value}'"):
        ServerModel("http://127.0.0.1:1", **{name: value})


def test_one_question_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    questions = [Request((Message("user", f"question {i}", "heard"),), AUDIO[:1600]) for i in range(6)]

    def answer(body, n):
        said = body["messages"][0]["content"][1]["text"]
        return Reply({"error": "down"}, status=500) if said == "question 3" else text(said)

    with serving(answer) as server:
        model = Cached(ServerModel(server.url, model="tiny", retries=0), AnswerCache(tmp_path))
        first = model.ask(questions)
        assert [isinstance(a, ModelError) for a in first] == [i == 3 for i in range(6)]
        assert len(server.chats) == model.calls == 6
        model.ask(questions)
    assert len(server.chats) == model.calls == 7  # only the one that failed was asked again


BROKEN = {
    "500": (Reply({"error": "out of memory"}, status=500), "answers 500: .*out of memory"),
    "429": (Reply({}, status=429), "answers 429"),
    "slow": (Reply(completion(LIST), wait_s=1.5), "no answer in time"),
    "drips": (Reply(completion(LIST), drip_s=0.1), "no answer in time"),
    "cut connection": (Reply(completion(LIST), cut_after=20), "the connection broke"),
    "10 MB": (Reply(completion("x" * 10_000_000)), "larger than is read"),
    "10 MB of a 500": (Reply(b"x" * 10_000_000, status=500), "larger than is read"),
    "packed": (Reply(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "packed"),
    "no JSON": (Reply(b"<html>"), "no JSON"),
    "deep JSON": (Reply(b"[" * 100_000), "no JSON"),
    "a list": (Reply([1, 0, 0]), "no JSON object"),
    "no choices": (Reply({"choices": []}), "no chat completion"),
    "number": (text(5), "holds no text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_are_named_and_bounded(name: str) -> None:
    reply, message = BROKEN[name]
    with serving(lambda body, n: reply) as server:
        begun_s = time.monotonic()
        with pytest.raises(ModelError, match=message):
            ask(server, timeout_s=0.6 if "in time" in message else 20)  # what is no answer shows at once
        assert time.monotonic() - begun_s < 15


MALFORMED = {
    "wrong length": (text("[1, 0, 0]"), "wrong_length"),
    "prose": (text("It changes in frame 3 and then in frame 4."), "no_list"),
    "empty": (text(""), "empty"),
    "null": (text(None), "empty"),
    "NaN": (text("[NaN, NaN, NaN, NaN, NaN]"), "not_binary"),
    "long": (text("1, 0, " * 20_000), "too_long"),
    "500": (Reply({"error": "down"}, status=500), "answers 500"),
    "cut connection": (Reply(completion(LIST), cut_after=20), "the connection broke"),
    "10 MB": (Reply(completion("x" * 10_000_000)), "larger than is read"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answers_end_in_the_fallback_end_to_end(name: str) -> None:
    reply, why = MALFORMED[name]
    clip = clip_of_sound(Sound(AUDIO, 16000), clip_id="query")
    with serving(lambda body, n: reply) as server:
        points = RCPG(server=server.url, variant="one_step", cache="off", retries=0, timeout_s=5.0)(clip)
    assert points.origin.fallback == "boundary" and why in points.origin.repairs[-1]
    # Asked twice; a server that answers freely is tried with each kind of constraint once.
    assert len(server.chats) == (4 if reply.status == 200 and name not in ("cut connection", "10 MB") else 2)
    assert len(points) == 5


def test_a_prompt_that_is_only_repeated_is_no_list() -> None:
    clip = clip_of_sound(Sound(AUDIO, 16000), clip_id="query")

    def echo(body, n):
        return text(body["messages"][-1]["content"][-1]["text"])

    with serving(echo) as server:
        points = RCPG(server=server.url, cache="off")(clip)
    assert "repeats_prompt" in points.origin.repairs[-1]


def test_answers_in_blocks_are_read() -> None:
    with serving(
        lambda body, n: text([{"type": "text", "text": "[1, 0, "}, {"type": "text", "text": "0, 1, 0]"}])
    ) as server:
        assert ask(server) == LIST


def test_what_passes_is_tried_again() -> None:
    replies = [Reply({}, status=500), Reply({}, status=429, headers={"Retry-After": "0.01"}), text(LIST)]
    with serving(lambda body, n: replies[n - 1]) as server:
        assert ask(server, retries=2) == LIST
    assert len(server.chats) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_does_not_pass_is_an_error_at_once(status: int) -> None:
    with serving(lambda body, n: Reply({"error": "no such model"}, status=status)) as server:
        with pytest.raises(CoPropError, match=f"answers {status}.*no such model") as caught:
            ask(server, retries=2)
        assert not isinstance(caught.value, ModelError) and len(server.chats) == 1


def test_nothing_there_is_an_error_and_no_fallback() -> None:
    with serving(lambda body, n: text("")) as server:
        pass
    with pytest.raises(CoPropError, match=r"nothing answers at .*is the server up") as caught:
        ask(server)
    assert not isinstance(caught.value, ModelError)


def test_redirects_are_not_followed() -> None:
    with serving(lambda body, n: text(LIST)) as other:
        reply = Reply({}, status=307, headers={"Location": f"{other.url}/chat/completions"})
        with serving(lambda body, n: reply) as server, pytest.raises(CoPropError, match="answers 307"):
            ask(server, model="tiny")
        assert other.received == []


def test_the_number_of_requests_at_a_time_is_bounded() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def answer(body, n):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return text(body["messages"][0]["content"][1]["text"])

    requests = [Request((Message("user", f"question {i}", "heard"),), AUDIO[:1600]) for i in range(8)]
    with serving(answer) as server:
        answers = ServerModel(server.url, in_flight=2).ask(requests)
    assert [a.text for a in answers] == [f"question {i}" for i in range(8)] and most[0] == 2


def test_the_only_model_is_taken_and_several_must_be_told_apart() -> None:
    with serving(lambda body, n: text(LIST), models=()) as server:
        assert ServerModel(server.url).model_name() == "default"
    with (
        serving(lambda body, n: text(LIST), models=("a", "b")) as server,
        pytest.raises(CoPropError, match=r"several.*a, b"),
    ):
        ask(server)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/v1", "would carry it in the clear"),
        ("http://127.0.0.1.example.org/v1", "would carry it in the clear"),
        ("http://user:pw@127.0.0.1/v1", "holds no user"),
        ("https://host/v1?key=x", "holds no user"),
        ("ftp://host/v1", "is a URL as"),
        ("host:8000", "is a URL as"),
        ("http://[::1", "is no URL"),
    ],
)
def test_addresses_that_would_leak_or_mean_nothing_are_refused(url: str, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        transport.check_url(url, has_key=True)


def test_addresses_that_are_fine() -> None:
    assert transport.check_url("http://localhost:8000", has_key=True) == "http://localhost:8000/v1"
    assert transport.check_url("http://[::1]:80/v1/", has_key=True) == "http://[::1]:80/v1"
    assert transport.check_url("https://host/compatible-mode/v1", has_key=True) == "https://host/compatible-mode/v1"
    assert transport.check_url("http://gpu-box:8000", has_key=False) == "http://gpu-box:8000/v1"


def test_no_secret_stands_in_any_written_file_or_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("COPROP_LM_KEY", SECRET)
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "another-" + SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    soundfile.write(tmp_path / "sound.wav", AUDIO, 16000)

    def telltale(body, n):
        return text(f"Your key is {SECRET}.") if n < 3 else Reply({"error": f"bad key {SECRET}"}, status=500)

    clip = write_dataset(tmp_path / "set", kind="s4", videos=1, seed=3, size=(32, 32), splits=["test"])
    frames, sound = (
        clip.path(place) for place in (clip.layout.frames_folder(clip.table[0]), clip.layout.sound_file(clip.table[0]))
    )
    masks = clip.path(clip.layout.mask_file(clip.table[0], 0, folder=clip.mask_folder(clip.table[0]))).parent

    with serving(telltale) as server, caplog.at_level(logging.DEBUG):
        asked = ["--control-points", "rcpg:retries=0", "--lm-server", server.url]
        words = ["points", str(tmp_path / "sound.wav"), *asked]
        assert main([*words, "-o", str(tmp_path / "points.json")]) == 0
        assert main([*words, "--json"]) == 0
        refine = ["refine", str(frames), "--audio", str(sound), "--masks", str(masks), "--classes", "binary"]
        assert main([*refine, *asked, "-o", str(tmp_path / "out")]) == 0
        study = ["study", "control-points", "--generators", "rcpg:retries=0", "--seeds", "0", "--lm-server", server.url]
        assert main([*study, "--json"]) == 0
        assert main([*words, "--control-points", f"rcpg:api_key={SECRET}"]) == 2
    headers = [{k.lower(): v for k, v in h.items()} for _, h, _ in server.received]
    assert all(h["authorization"] == f"Bearer {SECRET}" for h in headers)
    assert not any("my-organisation" in v for h in headers for v in h.values())
    printed = capsys.readouterr()
    assert "500" in printed.out and SECRET not in printed.out + printed.err + caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"points.json", "answers-2.sqlite", "report.html", "control_points.json"}
    assert not any(SECRET.encode() in path.read_bytes() for path in written)


def test_keys_for_other_services_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COPROP_LM_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serving(lambda body, n: text(LIST)) as server:
        ask(server)
    assert not any(SECRET in value for _, headers, _ in server.received for value in headers.values())


def test_cached_answers_need_no_server_where_the_model_is_named(tmp_path: Path) -> None:
    with serving(lambda body, n: text(LIST)) as server:
        first = Cached(ServerModel(server.url, model="tiny"), AnswerCache(tmp_path)).ask([QUESTION])
    assert Cached(ServerModel(server.url, model="tiny"), AnswerCache(tmp_path)).ask([QUESTION]) == first
    assert len(server.received) == 1
