"""The words of the README and the results are those of the stored numbers."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def stands(page: str, name: str, table: str) -> bool:
    """Whether a table stands in a page of results between its marks."""
    text = (ROOT / "benchmarks" / page).read_text(encoding="utf-8")
    return f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in text


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts find what stands beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("page", ["README.md", "benchmarks/RESULTS.md", "benchmarks/RESULTS_plug_in.md"])
def test_the_headline_is_what_was_measured(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    sets = stored("plug_in")["sets"]
    assert all(one["part"] == "held-out" and one["masks"] == "binary" for one in sets)
    for one in sets:  # the counts that are told are those of the clips that are listed
        assert all(row["worse clips"] == len(row["harmed"]) for row in one["rows"])
    assert bench("plug_in")["headline"](sets) in text


def stored(name: str) -> dict | list:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def bench(name: str) -> dict:
    return runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


@pytest.mark.parametrize(
    ("script", "page"), [("plug_in", "RESULTS_plug_in.md"), ("paper", "RESULTS_paper.md"), ("carried", "RESULTS.md")]
)
def test_the_tables_of_a_page_are_what_was_measured(script: str, page: str) -> None:
    for name, table in bench(script)["tables"](stored(script)).items():
        assert stands(page, name, table), name


def test_the_tables_of_evidence_are_what_was_measured() -> None:
    found, script = stored("plug_in")["evidence"], bench("evidence")
    assert found.keys() == script["FAULTS"].keys()
    for name, rows in found.items():
        assert stands("RESULTS_plug_in.md", f"evidence: {name}", script["table"](rows))


@pytest.mark.parametrize(
    ("script", "page", "name"), [("control_points", "RESULTS.md", "control points"), ("ssp", "RESULTS_ssp.md", "ssp")]
)
def test_a_table_is_what_was_measured(script: str, page: str, name: str) -> None:
    assert stands(page, name, bench(script)["table"](stored(script)))


def test_the_tables_of_candidates_are_what_was_measured() -> None:
    found, script = stored("candidates"), bench("candidates")
    for masks in script["FAULTS"]:
        assert stands("RESULTS_plug_in.md", f"candidates: {masks}", "\n".join(script["table"](masks, found[masks])))
    motion, page = found["motion"], (ROOT / "benchmarks/RESULTS_plug_in.md").read_text(encoding="utf-8")
    assert f"is {motion['correlation']:.2f} ({motion['frames']} frames, ± {motion['half width']:.2f})" in page


def test_no_more_clips_are_worse_than_there_are() -> None:
    measured = [row for row in stored("paper")["rows"] if "not run" not in row]
    assert measured and all(row["data"] == "library clips" for row in measured)
    for row in (*(row for row in measured if row["policy"]), *stored("carried")["study"]):
        assert row["worse clips"] <= row["clips"]
