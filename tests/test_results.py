"""The words of the README and the results are those of the stored numbers."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADLINE = re.compile(
    r"On (\d+) held-out clips .*?perfect masks changed by ([+-][\d.]+) points of M_J, and (\d+) of (\d+) refined clips "
    r".*?\(worst: ([+-][\d.]+)\)"
)


@pytest.mark.parametrize("page", ["README.md", "benchmarks/RESULTS.md", "benchmarks/RESULTS_plug_in.md"])
def test_the_headline_is_what_was_measured(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    found = HEADLINE.search(text)
    assert found, f"{page} tells no headline"
    sets = json.loads((ROOT / "benchmarks/results/plug_in.json").read_text(encoding="utf-8"))["sets"]
    assert all(one["part"] == "held-out" and one["masks"] == "binary" for one in sets)
    rows = [(one["clips"], row) for one in sets for row in one["rows"]]
    assert int(found[1]) == sum(one["clips"] for one in sets)
    assert float(found[2]) == min(row["M_J change"][0] for _, row in rows if row["base model"] == "perfect")
    assert int(found[3]) == sum(row["worse clips"] for _, row in rows) == sum(len(row["harmed"]) for _, row in rows)
    assert int(found[4]) == sum(clips for clips, _ in rows)
    assert float(found[5]) == min(row["worst"] for _, row in rows)
    back = re.search(r"(\d+) % came back with true control points and (\d+) % with the default generator", text)
    assert back, f"{page} does not tell what was regained"
    pooled = runpy.run_path(str(ROOT / "benchmarks/plug_in.py"))["pooled"]
    told = [pooled(sets, ["lag:1"], generator)["recovered"] for generator in ("truth", "boundary")]
    assert [int(back[1]), int(back[2])] == [round(share) for share in told]


def test_the_table_of_control_points_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/control_points.json").read_text(encoding="utf-8"))
    table = runpy.run_path(str(ROOT / "benchmarks/control_points.py"))["table"]
    assert table(rows) in (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
