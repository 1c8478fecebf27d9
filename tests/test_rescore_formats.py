"""Tables of a run: every format escapes names in its own way, and says what is published and what is not."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rescore_runs import plan_of, quick, write_benchmark

from coprop_plugin.rescore.comparison import Comparison, make_comparison
from coprop_plugin.rescore.folder import RunFolder
from coprop_plugin.rescore.formats import csv_cell, latex_cell, to_csv, to_json, to_latex, to_text
from coprop_plugin.rescore.notes import notes_of_intervals
from coprop_plugin.rescore.pages import write_index
from coprop_plugin.rescore.published import published
from coprop_plugin.rescore.rows import ClassRow
from coprop_plugin.rescore.tables import reference_tables, result_tables

EVIL = '=HYPERLINK("x")<script>alert(1)</script>&50%_{$^~}\\input\x1b[2J\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Comparison]:
    root = tmp_path_factory.mktemp("formats")
    plan = plan_of(write_benchmark(root / "set", videos=3, side=32), "lag-1", protocol=("avsbench", "tpavi"))
    return RunFolder(root / "out"), quick(plan, root / "out").comparison


@pytest.fixture(scope="module")
def evil(run: tuple[RunFolder, Comparison]) -> Comparison:
    """The same numbers of a method, a video and an error that would like to be code."""
    comparison = run[1]
    return replace(
        comparison,
        manifest={**comparison.manifest, "methods": [{"name": EVIL}]},
        rows=tuple(replace(row, method=EVIL) for row in comparison.rows),
        classes=(ClassRow(EVIL, "avsbench", 3, EVIL, 7, 10.0, 12.5, 20.0, None),),
        videos=tuple(replace(video, method=EVIL, video=EVIL, after=video.before + 1) for video in comparison.videos),
        failures=((EVIL, EVIL, EVIL),),
        notes=(EVIL,),
    )


def test_csv_holds_every_number_and_no_formula(evil: Comparison) -> None:
    text = to_csv(evil).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    ours = [row for row in rows if row["origin"] == "this run"]
    assert {row["method"] for row in ours} == {"'" + EVIL}
    own, classes = ours[: len(evil.rows)], ours[len(evil.rows) :]
    told = [(row["subset"], row["frames"], row["metric"], row["change"]) for row in classes]
    assert told == [(f"class {EVIL}", "7", "M_J", "2.5"), (f"class {EVIL}", "7", "M_F", "")]
    assert [float(r["after"]) for r in own] == [row.after for row in evil.rows]
    assert {r["metric"]: r["after"] for r in rows if r["method"] == "Co-Prop, PVT-v2"} == {"M_J": "63.6", "M_F": "74.0"}
    assert all(row["origin"].startswith("published: ") for row in rows if row not in ours)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1+1", "＠x"])
def test_cells_that_begin_like_formulas(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_negative_numbers_stay_numbers() -> None:
    assert (csv_cell(-1.5), csv_cell("a=b"), csv_cell(None)) == (-1.5, "a=b", "")


def test_latex_prints_what_stands_there(evil: Comparison) -> None:
    assert latex_cell(r"a_b & 50% \x{y}$#^~<") == (
        r"a\_b \& 50\% \textbackslash{}x\{y\}\$\#\textasciicircum{}\textasciitilde{}\textless{}"
    )
    # At the beginning of a row these would be taken for options of the row end before.
    assert latex_cell('[2cm] *a--b "c" `') == r"{[}2cm{]} {*}a-{}-b \texttt{\char34}c\texttt{\char34} \textasciigrave{}"
    text = to_latex(evil).decode()
    assert "\\input" not in text
    assert r"\textbackslash{}input" in text
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 4
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert all(line.count(" & ") == 9 for line in body.splitlines()[1:] if line)


def test_text_holds_no_control_characters(evil: Comparison) -> None:
    assert all(c.isprintable() or c == "\n" for c in to_text(evil).decode())


def test_json_keeps_every_digit(run: tuple[RunFolder, Comparison]) -> None:
    told = json.loads(to_json(run[1]))
    for row, given in zip(told["rows"], run[1].rows, strict=True):
        assert (row["before"], row["after"]) == (given.before, given.after)
    intervals = [row for row in told["rows"] if row["protocol"] == "avsbench"]
    assert all(row["low"] <= row["change"] <= row["high"] for row in intervals)


def test_several_videos_a_batch_have_no_interval(run: tuple[RunFolder, Comparison]) -> None:
    differences = {row.protocol: row.difference for row in run[1].rows}
    assert differences["tpavi"] is None
    assert differences["avsbench"] is not None


def test_the_index_escapes_names_and_runs_no_script(
    run: tuple[RunFolder, Comparison], evil: Comparison, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    write_index(folder, evil, {(EVIL, EVIL): "pages/x/y.html"})
    html = (tmp_path / "index.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "default-src &#39;none&#39;" in html
    assert "(published)" in html


def test_published_numbers_are_marked_and_carry_their_protocol() -> None:
    for dataset in ("s4", "ms3", "avss"):
        rows = published(dataset)
        assert {"Co-Prop", "TPAVI", "AVSegFormer"} <= {row.method for row in rows}
        assert all(row.protocol and row.source and 0 < row.m_j < row.m_f < 100 for row in rows)


def test_a_run_on_another_split_shows_no_published_numbers(run: tuple[RunFolder, Comparison]) -> None:
    manifest = {**run[1].manifest, "dataset": {**run[1].manifest["dataset"], "split": "val"}}
    assert "published" not in to_text(replace(run[1], manifest=manifest)).decode()


def test_methods_stand_below_each_metric(run: tuple[RunFolder, Comparison], tmp_path: Path) -> None:
    folder, comparison = run
    plan = plan_of(folder.path.parent / "set", protocol="avsbench")
    both = quick(plan, tmp_path / "two").comparison
    table, beside = result_tables(both)[0], reference_tables(both)[0]
    assert [row[:3] for row in table.rows] == [
        (metric, "avsbench", method) for metric in ("M_J", "M_F (hard masks)") for method in ("lag-1", "flicker-2")
    ]
    assert (table.groups, result_tables(comparison)[0].groups) == (2, 0)
    assert [row[:4] for row in beside.rows[:2]] == [
        (f"lag-1, {side}", "–", "avsbench, M_F of hard masks", "this run") for side in ("before", "after")
    ]
    assert beside.rows[0][4] == table.rows[0][4]
    html = (tmp_path / "two/index.html").read_text()
    assert html.count('<tr class="group">') == 2


def test_an_interval_beside_its_change_is_told(run: tuple[RunFolder, Comparison]) -> None:
    row = next(row for row in run[1].rows if row.difference)
    assert not list(notes_of_intervals([row]))
    beside = replace(row, difference=replace(row.difference, low=9.0, high=9.5))
    (note,) = notes_of_intervals([beside])
    assert f"{row.metric} ({row.protocol})" in note


def test_hard_masks_are_named_in_the_metric(run: tuple[RunFolder, Comparison]) -> None:
    of_masks = {(row.metric, row.masks, row.name) for row in run[1].rows if "M_F" in row.metric}
    assert of_masks == {("M_F", "hard masks", "M_F (hard masks)")}
    assert {row.masks for row in run[1].rows if row.metric == "M_J"} == {""}


def test_a_comparison_is_a_function_of_the_records(run: tuple[RunFolder, Comparison]) -> None:
    folder, comparison = run
    plan = plan_of(folder.path.parent / "set", "lag-1", protocol=("avsbench", "tpavi"))
    assert make_comparison(plan, folder, draws=50) == comparison
