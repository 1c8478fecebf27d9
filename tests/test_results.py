"""The words of the README and the results are those of the stored numbers."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts find what stands beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("page", ["README.md", "benchmarks/RESULTS.md", "benchmarks/RESULTS_plug_in.md"])
def test_the_headline_is_what_was_measured(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    stored = json.loads((ROOT / "benchmarks/results/plug_in.json").read_text(encoding="utf-8"))
    sets = stored["sets"]
    assert all(one["part"] == "held-out" and one["masks"] == "binary" for one in sets)
    for one in sets:  # the counts that are told are those of the clips that are listed
        assert all(row["worse clips"] == len(row["harmed"]) for row in one["rows"])
    bench = runpy.run_path(str(ROOT / "benchmarks/plug_in.py"))
    assert bench["headline"](sets) in text


def test_the_tables_of_the_plug_in_are_what_was_measured() -> None:
    stored = json.loads((ROOT / "benchmarks/results/plug_in.json").read_text(encoding="utf-8"))
    page = (ROOT / "benchmarks/RESULTS_plug_in.md").read_text(encoding="utf-8")
    for name, table in runpy.run_path(str(ROOT / "benchmarks/plug_in.py"))["tables"](stored).items():
        assert f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in page


def test_the_tables_of_evidence_are_what_was_measured() -> None:
    stored = json.loads((ROOT / "benchmarks/results/plug_in.json").read_text(encoding="utf-8"))["evidence"]
    page = (ROOT / "benchmarks/RESULTS_plug_in.md").read_text(encoding="utf-8")
    bench = runpy.run_path(str(ROOT / "benchmarks/evidence.py"))
    assert stored.keys() == bench["FAULTS"].keys()
    for name, rows in stored.items():
        assert f"<!-- evidence: {name} -->\n{bench['table'](rows)}\n<!-- end of evidence: {name} -->" in page


def test_the_table_of_control_points_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/control_points.json").read_text(encoding="utf-8"))
    table = runpy.run_path(str(ROOT / "benchmarks/control_points.py"))["table"]
    assert table(rows) in (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")


def test_the_table_of_ssp_is_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks/results/ssp.json").read_text(encoding="utf-8"))
    table = runpy.run_path(str(ROOT / "benchmarks/ssp.py"))["table"]
    assert table(found) in (ROOT / "benchmarks/RESULTS_ssp.md").read_text(encoding="utf-8")


def test_the_tables_of_candidates_are_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks/results/candidates.json").read_text(encoding="utf-8"))
    bench = runpy.run_path(str(ROOT / "benchmarks/candidates.py"))
    page = (ROOT / "benchmarks/RESULTS_plug_in.md").read_text(encoding="utf-8")
    for masks in bench["FAULTS"]:
        assert "\n".join(bench["table"](masks, found[masks])) in page
    motion = found["motion"]
    assert f"is {motion['correlation']:.2f} ({motion['frames']} frames, ± {motion['half width']:.2f})" in page


def test_the_tables_of_the_paper_are_what_was_measured() -> None:
    stored = json.loads((ROOT / "benchmarks/results/paper.json").read_text(encoding="utf-8"))
    page = (ROOT / "benchmarks/RESULTS_paper.md").read_text(encoding="utf-8")
    for name, table in runpy.run_path(str(ROOT / "benchmarks/paper.py"))["tables"](stored).items():
        assert f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in page
    measured = [row for row in stored["rows"] if "not run" not in row]
    assert measured and all(row["data"] == "library clips" for row in measured)
    assert all(row["worse clips"] <= row["clips"] for row in measured if row["policy"])


def test_the_tables_of_the_propagators_are_what_was_measured() -> None:
    stored = json.loads((ROOT / "benchmarks/results/carried.json").read_text(encoding="utf-8"))
    page = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    assert all(table in page for table in runpy.run_path(str(ROOT / "benchmarks/carried.py"))["tables"](stored))
    assert all(row["worse clips"] <= row["clips"] for row in stored["study"])
