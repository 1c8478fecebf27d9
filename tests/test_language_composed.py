"""RCPG on real composed clips from the command line: every variant over every back-end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import Reply, serving, text
from tiny_language import MAKERS

from coprop_plugin.cli.main import main
from coprop_plugin.control_points.language.document import Document, write_document
from coprop_plugin.control_points.language.retrieval import Entry

pytestmark = [pytest.mark.heavy, pytest.mark.needs("data", "serve")]
CLIPS = ("o1_toys_10s", "o2_car_5s", "o3_car_bmx_10s", "o4_negative_5s")
VARIANTS = ("one_step", "three_step", "rcpg")
BACK_ENDS = (*MAKERS, "server", "replay")
QUESTIONS = {"one_step": 1, "three_step": 3, "rcpg": 3}


def like_vllm(body: dict, n: int) -> Reply:
    """Free answers name two categories; a list has the length that the constraint asks for."""
    regex = body.get("structured_outputs", {}).get("regex")
    if regex is None:
        return text("dog, car")
    more = int(regex.partition("{")[2].partition("}")[0])
    return text(str([1, 0, 1, *[0] * (more - 2)]))


@pytest.fixture(scope="module")
def back_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """The words of the command line that name each back-end."""
    folder = tmp_path_factory.mktemp("back_ends")
    lists = (("into five frames", [1, 0, 1, 0, 0]), ("into ten frames", [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]))
    answers = [*({"prompt": words, "answer": str(flags)} for words, flags in lists), {"answer": "dog, car"}]
    (folder / "answers.json").write_text(json.dumps({"answers": answers}))
    words = {name: ["--lm-model", str(make(folder / name))] for name, make in MAKERS.items()}
    with serving(like_vllm) as server:
        yield {**words, "server": ["--lm-server", server.url], "replay": [f"replay={folder / 'answers.json'}"]}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_control_points_of_a_clip(
    back_end: str,
    variant: str,
    back_ends: dict[str, list[str]],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    write_document(Document("avss", (Entry("one", ("car",), (1, 0, 1, 0, 0)),)), tmp_path / "D.json")
    options = [f"variant={variant}", f"examples={tmp_path / 'D.json'}"]
    if back_end in MAKERS:
        options.append("max_new_tokens=8")  # random weights never end an answer
    if back_end == "replay":
        options += back_ends["replay"]
    words = ["--control-points", "rcpg:" + ",".join(options), *(back_ends[back_end] if back_end != "replay" else [])]
    for clip in CLIPS:
        seconds = 10 if clip.endswith("10s") else 5
        assert main(["points", str(data / "composed" / f"{clip}.mp4"), *words, "--json"]) == 0
        points = json.loads(capsys.readouterr().out)
        assert len(points["flags"]) == seconds and points["flags"][0] == 1
        origin = {"generator": "rcpg", "repairs": points["origin"]["repairs"], "fallback": None}
        assert points["origin"] == origin | {"flags": "".join(str(int(flag)) for flag in points["flags"])}
        if back_end in MAKERS:
            assert len(points["confidence"]) == seconds  # P(change) of the constrained list
        else:
            assert [t for t, flag in enumerate(points["flags"]) if flag] == [0, 2]
            assert variant != "rcpg" or points["categories"] == [["dog", "car"]] * 2
    if back_end != "replay":
        assert main(["cache", "info", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["answers"] == len(CLIPS) * QUESTIONS[variant]
