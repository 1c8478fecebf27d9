"""The paper's tables: which rows there are, what they hold, resumed = fresh, and no clips that were trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import coprop_plugin as cp
from coprop_plugin import parts
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.errors import CoPropError
from coprop_plugin.study import paper
from coprop_plugin.study.cases import Case, made_cases


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


def rows() -> list[paper.Line]:
    return paper.lines(["tpavi_lite"], ["hold"], whole="tpavi_lite", kpf=None, tuned=None)


def worked(path: Path | None, asked: list[str] | None = None, *, key: str = "one") -> list[dict]:
    values = paper.Values(path, key=key)
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


def test_clips_that_were_fitted_on_are_refused() -> None:
    def fitted() -> Iterator[Case]:
        yield from made_cases(made_clips("synth:moc:0-0"), size=48, labelling="binary")

    with pytest.raises(CoPropError, match="training part"):
        paper.run({"moc": fitted}, {"tpavi_lite": model()}, {}, rows(), paper.Values(None, key=""))


def test_the_command_names_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([], "the tables need a base model"),
        (["--look", "--insert", "aip"], "--insert is ROW=NAME"),
        (["--look", "--clips-each", "0"], "--clips-each is 1 or more"),
    ):
        assert main(["study", "paper", "--library", str(tmp_path), *words]) == 2
        assert message in capsys.readouterr().err
    assert json.dumps(paper.PROTOCOLS)
