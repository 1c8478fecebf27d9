"""Tables of a run: every format escapes names in its own way, and says what is published and what is not."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rescore_runs import plan_of, quick, write_benchmark

from coprop_plugin.cli.main import main
from coprop_plugin.datasets.layouts import LAYOUTS, Video
from coprop_plugin.errors import CoPropError
from coprop_plugin.rescore.compact import to_compact_latex
from coprop_plugin.rescore.comparison import Comparison, make_comparison
from coprop_plugin.rescore.folder import RunFolder
from coprop_plugin.rescore.formats import csv_cell, latex_cell, to_csv, to_json, to_latex, to_text
from coprop_plugin.rescore.notes import notes_of_intervals
from coprop_plugin.rescore.pages import SHOWN, extremes, write_index
from coprop_plugin.rescore.published import published, published_beside
from coprop_plugin.rescore.rows import ClassRow, VideoChange
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
        published=tuple(published("ms3")),
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


def test_published_numbers_stand_beside_the_real_test_split_alone(run: tuple[RunFolder, Comparison]) -> None:
    for render in (to_text, to_csv, to_latex):
        assert b"published: " not in render(run[1]) and b"(published)" not in render(run[1])
    root = run[0].path.parent / "set"
    plan = plan_of(root, "lag-1")
    count = LAYOUTS["ms3"].published["test"]
    real = replace(plan, videos=tuple(Video(f"-a_b{i:07d}", "test") for i in range(count)))
    assert published_beside(real) == tuple(published("ms3"))
    for other, why in (
        (replace(real, split="val"), "split 'val'"),
        (replace(real, videos=real.videos[1:]), f"names {count - 1} videos"),
        (replace(real, videos=(*real.videos[1:], plan.videos[0])), "synthetic"),
    ):
        with pytest.raises(CoPropError, match=f"{why}.*Leave --published out"):
            published_beside(other)


def test_published_beside_a_synthetic_set_is_refused_first(
    run: tuple[RunFolder, Comparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run[0].path.parent / "set"
    command = ["rescore", str(root / "predictions/lag-1"), "--data-root", str(root), "-o", str(tmp_path / "out")]
    assert main([*command, "--published"]) == 2
    assert "these videos are synthetic (as 'ms3_" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_papers_table_has_the_best_in_bold(run: tuple[RunFolder, Comparison]) -> None:
    rows = [row for row in run[1].rows if row.protocol == "avsbench" and row.metric in ("M_J", "M_F")]
    values = {"a_b": {"M_J": (50.0, 61.004), "M_F": (70.0, 71.0)}, "c": {"M_J": (61.0, 60.0), "M_F": (75.5, 74.0)}}
    made = [
        replace(row, method=method, before=values[method][row.metric][0], after=values[method][row.metric][1])
        for method in values
        for row in rows
    ]
    rate = replace(rows[0], protocol="alignment", metric="alignment_binary@0.5", masks="")
    made += [replace(rate, method="a_b", before=10.0, after=None)]
    text = to_compact_latex(replace(run[1], rows=tuple(made))).decode()
    assert (
        r" & \multicolumn{2}{c}{M\_J} & \multicolumn{2}{c}{M\_F} & \multicolumn{2}{c}{alignment\_binary@0.5} \\" in text
    )
    assert r"a\_b & 50.00 & \textbf{61.00} & 70.00 & 71.00 & \textbf{10.00} & -- \\" in text
    assert r"c & \textbf{61.00} & 60.00 & \textbf{75.50} & 74.00 & -- & -- \\" in text
    (line,) = (line for line in text.splitlines() if "footnotesize" in line)
    assert (
        r"MS3 test, 3 videos; percent. M\_J, M\_F of hard masks: protocol avsbench; alignment\_binary@0.5: protocol"
        in line
    )
    other = to_compact_latex(replace(run[1], rows=(replace(rows[0], metric="STQ"),))).decode()
    assert "neither M_J" in other and "tabular" not in other
    fewer = [replace(row, videos=2) if row.method == "c" else row for row in made]
    text = to_compact_latex(replace(run[1], rows=tuple(fewer))).decode()
    assert r"c & 61.00 & 60.00 & 75.50" in text and r"a\_b: 3 videos, c: 2 videos" in text


def test_the_papers_table_is_written_on_request(
    run: tuple[RunFolder, Comparison], evil: Comparison, tmp_path: Path
) -> None:
    plan = plan_of(run[0].path.parent / "set", "lag-1", protocol=("avsbench", "tpavi"))
    again = quick(plan, tmp_path / "out", latex="compact")
    written = (tmp_path / "out/comparison.tex").read_bytes()
    assert written == to_compact_latex(again.comparison)
    assert b"longtable" not in written and written.count(b"\\begin{tabular}") == 1
    assert (run[0].path / "comparison.tex").read_bytes() == to_latex(run[1])
    assert "\\input" not in to_compact_latex(evil).decode()


def test_methods_stand_below_each_metric(run: tuple[RunFolder, Comparison], tmp_path: Path) -> None:
    folder, comparison = run
    plan = plan_of(folder.path.parent / "set", protocol="avsbench")
    both = replace(quick(plan, tmp_path / "two").comparison, published=tuple(published("ms3")))
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
    assert html[: html.index("Change of every video")].count('<tr class="group">') == 2


def test_each_method_has_worst_and_best_lists_of_its_own(run: tuple[RunFolder, Comparison], tmp_path: Path) -> None:
    changes = {"bad": range(-2 * SHOWN, 0), "good": (-0.5, 0, 3.5)}
    videos = [VideoChange(m, f"v{i}", 50, 50 + c, 1) for m, found in changes.items() for i, c in enumerate(found)]
    told = replace(
        run[1],
        manifest={**run[1].manifest, "methods": [{"name": "bad"}, {"name": "good"}]},
        videos=tuple(sorted(videos, key=lambda v: v.change)),
    )
    worst, best = extremes(told)
    assert [(v.method, v.change) for v in worst] == [*(("bad", c) for c in range(-2 * SHOWN, -SHOWN)), ("good", -0.5)]
    assert [(v.method, v.change) for v in best] == [("good", 3.5)]
    write_index(RunFolder(tmp_path), told, {})
    html = (tmp_path / "index.html").read_text()
    lists = html[html.index("Worst videos") :]
    assert [lists.count(f"<bdi>{name}</bdi></span></th>") for name in changes] == [1, 2]
    assert "<td>bad</td>" not in lists and '<th scope="col">Method</th>' not in lists


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
