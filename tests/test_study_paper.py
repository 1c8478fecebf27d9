"""The paper's tables: which rows there are, what they hold, resumed = fresh, and no clips that were trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import coprop_plugin as cp
from coprop_plugin import parts
from coprop_plugin.cli import study_paper
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.errors import CoPropError
from coprop_plugin.propagators.guides import LOG_MEL_DIM
from coprop_plugin.study import paper, paper_rows
from coprop_plugin.study.cases import Case, made_cases
from coprop_plugin.training.networks import starting_network


def cases() -> Iterator[Case]:
    yield from made_cases(made_clips("synth:moc:200-201"), size=48, labelling="binary")


def model(asked: list[str] | None = None) -> cp.adapters.base.Adapter:
    """Marks the upper half of every frame."""

    def upper(clip: cp.Clip) -> np.ndarray:
        if asked is not None:
            asked.append(clip.clip_id)
        marked = np.zeros((clip.num_frames, 48, 48), np.uint8)
        marked[:, :24] = 1
        return marked

    return parts.build("adapter", {"name": "callable", "function": upper, "kind": "hard"})


def rows(inserts: paper_rows.Inserts | None = None) -> list[paper_rows.Line]:
    return paper_rows.lines(["tpavi_lite"], "hold", whole="tpavi_lite", kpf=None, tuned=None, inserts=inserts)


def worked(path: Path | None, asked: list[str] | None = None, *, key: str = "one") -> list[dict]:
    values = paper.Values(path, key=lambda cell: f"{key} {cell.propagator}")
    tools = {"hold": parts.build("propagator", "hold")}
    clips = paper.run({"moc-like": cases}, {"tpavi_lite": model(asked)}, tools, rows(), values)
    return paper.summary(rows(), values, clips)


def test_rows_are_means_over_clips_and_what_lacks_is_said(tmp_path: Path) -> None:
    told = worked(None)
    assert {row["table"] for row in told} == {"1", "2(a)", "2(b)", "4", "5", "6"}
    lacking = {row["row"]: row["not run"] for row in told if "not run" in row}
    assert "no kpf was given" in lacking["KPF before fine-tuning (replace)"] and "RCPG, 1-step, 3-step" in lacking
    base = next(row for row in told if row.get("policy") == "")
    held = [
        cp.read_prediction(np.asarray(model().predict(case.clip).hardened().scores).argmax(1), clip=case.clip)
        for case in cases()
    ]
    expected = [paper.evaluate(p, case.truth, None)["M_J"] for p, case in zip(held, cases(), strict=True)]
    assert base["M_J"] == pytest.approx(100 * np.mean(expected)) and base["data"] == "library clips"
    refined = next(row for row in told if row.get("policy") == "replace")
    assert refined["M_J change"][0] == pytest.approx(refined["M_J"] - base["M_J"]) and refined["harm"]["clips"] == 2


def test_key_and_normal_frames_make_up_all() -> None:
    case = next(cases())
    base = model().predict(case.clip)
    told = paper.evaluate(base, case.truth, case.points)
    share = case.points.flags.mean()
    assert told["J_key"] is not None and told["J_normal"] is not None
    assert share * told["J_key"] + (1 - share) * told["J_normal"] == pytest.approx(told["M_J"])
    everything = cp.ControlPoints(np.ones(case.clip.num_frames, bool))
    assert paper.evaluate(base, case.truth, everything)["J_normal"] is None


def test_resumed_is_fresh_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    path, asked = tmp_path / "cells.jsonl", []  # type: ignore[var-annotated]
    fresh = worked(path, asked)
    assert len(asked) == 2
    lines = path.read_bytes()
    path.write_bytes(lines[: len(lines) * 3 // 4])  # stopped while a line was written
    assert worked(path, asked) == fresh and len(asked) == 3
    assert worked(path, asked) == fresh and len(asked) == 3
    assert worked(path, asked, key="other weights") == fresh and len(asked) == 5
    assert worked(path, asked) == fresh and len(asked) == 5


def insert_file(path: Path, size: int, seed: int, *, heard: str, dim: int) -> Path:
    """An insert that does something, on a small random network."""
    weights = starting_network("aott", insert={"audio_dim": dim, "heard": heard}).state_dict()
    torch.manual_seed(seed)
    state = {n: torch.randn_like(v) / size if "projection" in n else v for n, v in weights.items()}
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


@pytest.fixture
def one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on one clip; its files lie in ``tmp_path / "out"``."""
    monkeypatch.setattr(study_paper, "_sets", lambda args: {"moc-like": lambda: islice(cases(), 1)})
    monkeypatch.setattr("coprop_plugin.datasets.objects.library.open_library", lambda folder: None)
    (tmp_path / "library.json").write_text("{}")
    places = ["--library", str(tmp_path), "-o", str(tmp_path / "out")]
    return ["study", "paper", "--propagator", "hold", "--json", *places]


def test_rows_of_stage_2(
    one_clip: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables 4 and 5 and the last row of 2(a), from files; a file that changes is measured again, and no other."""
    monkeypatch.setattr(
        "coprop_plugin.propagators.text.text_encoder",
        lambda folder: lambda words: np.array([[len(word) / 10] * 3 for word in words], np.float32),
    )
    monkeypatch.setattr(study_paper, "_models", lambda args: {"kpf, keyframes": model()})
    monkeypatch.setattr(paper_rows, "NAMED_POINTS", (paper_rows.TRUTH,))
    monkeypatch.setattr(paper_rows, "POINTS", ("none",))
    audio = insert_file(tmp_path / "audio.safetensors", 2, 0, heard="logmel", dim=LOG_MEL_DIM)
    text = insert_file(tmp_path / "text.safetensors", 2, 1, heard="text", dim=3)
    plain = tmp_path / "plain.safetensors"
    save_file({n: v.contiguous() for n, v in starting_network("aott").state_dict().items()}, plain)

    def told() -> list[dict]:
        inserts = [
            "--without-insert",
            f"aott:checkpoint={plain}",
            "--insert",
            f"1-layer=audio_insert:checkpoint={audio}",
        ]
        words = ["--text-insert", f"text=audio_insert:checkpoint={text},audio_checkpoint={tmp_path / 'words'}"]
        assert main([*one_clip, *inserts, *words]) == 0
        return json.loads(capsys.readouterr().out)

    first = told()
    by_table = {t: [row for row in first if row["table"] == t and "not run" not in row] for t in ("2(a)", "4", "5")}
    assert [row["propagator"] for row in by_table["4"]] == ["no insert: aott", "1-layer", "text"]
    assert {row["policy"] for row in by_table["4"]} == {"replace"}
    assert {(row["propagator"], row["points"], row["policy"]) for row in by_table["5"]} == set(
        product(("no insert: aott", "1-layer"), ("boundary", "truth"), ("replace", "consensus"))
    )
    assert {row["propagator"] for row in by_table["2(a)"]} == {"hold", "no insert: aott", "1-layer"}
    assert all(row["harm"]["clips"] == 1 for rows in by_table.values() for row in rows)
    kept = (tmp_path / "out" / "cells.jsonl").read_text().splitlines()
    assert told() == first and (tmp_path / "out" / "cells.jsonl").read_text().splitlines() == kept
    insert_file(audio, 2, 2, heard="logmel", dim=LOG_MEL_DIM)
    second = told()
    added = (tmp_path / "out" / "cells.jsonl").read_text().splitlines()[len(kept) :]
    assert {json.loads(line)["cell"]["propagator"] for line in added} == {"1-layer"}
    assert [row for row in second if row.get("propagator") != "1-layer"] == [
        row for row in first if row.get("propagator") != "1-layer"
    ]


def test_any_adapter_is_a_base_model_of_table_1(
    one_clip: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows by the names that were given; with other options of the part they are measured again."""
    built, build = [], parts.build

    def build_or_model(kind: str, part: dict) -> object:
        built.append(part)
        return model() if kind == "adapter" and part["name"] != "callable" else build(kind, part)

    monkeypatch.setattr(parts, "build", build_or_model)
    (tmp_path / "w").write_bytes(b"first")
    words = [*one_clip, "--base", f"seed 1=kpf:checkpoint={tmp_path / 'w'}", "--base", "seen=look"]

    def lines() -> int:
        assert main(words) == 0
        rows = [row for row in json.loads(capsys.readouterr().out) if "not run" not in row]
        assert {row["base"] for row in rows} == {"seed 1", "seen"} and {row["table"] for row in rows} == {"1"}
        return len((tmp_path / "out" / "cells.jsonl").read_text().splitlines())

    first = lines()
    assert {"name": "kpf", "checkpoint": str(tmp_path / "w")} in built
    assert lines() == first
    (tmp_path / "w").write_bytes(b"second")
    assert lines() == first + 5, "five cells of the one base model that changed"


def test_without_inserts_their_rows_say_so() -> None:
    for inserts in (None, paper_rows.Inserts("plain", text=("words",))):
        lacking = {row.table: row.reason for row in rows(inserts) if row.cell is None}
        assert "one with audio were given" in lacking["4"] and "audio insert was given" in lacking["5"]


def test_clips_that_were_fitted_on_are_refused() -> None:
    def fitted() -> Iterator[Case]:
        yield from made_cases(made_clips("synth:moc:0-0"), size=48, labelling="binary")

    with pytest.raises(CoPropError, match="training part"):
        paper.run({"moc": fitted}, {"tpavi_lite": model()}, {}, rows(), paper.Values(None, key=lambda cell: ""))


def test_the_command_names_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([], "the tables need a base model"),
        (["--look", "--insert", "aip"], "are ROW=NAME"),
        (["--look", "--clips-each", "0"], "--clips-each is 1 or more"),
        (["--look", "--insert", "a=flow", "--text-insert", "a=flow"], "two propagators have the row 'a'"),
        (["--base", "mine"], "are ROW=NAME"),
        (["--look", "--base", "look=look"], "two base models have the row 'look'"),
        (["--base", "a=look", "--base", "a=look"], "two base models have the row 'a'"),
    ):
        assert main(["study", "paper", "--library", str(tmp_path), *words]) == 2
        assert message in capsys.readouterr().err
    assert json.dumps(paper.PROTOCOLS)
