"""Harm in numbers: shares, worst clips, tails, their intervals; and the table that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import MadeClips
from coprop_plugin.errors import CoPropError
from coprop_plugin.study.cases import FITTED_SEEDS, made_cases
from coprop_plugin.study.harm import harm, wilson


def test_harm_is_what_was_lost_and_where() -> None:
    before = np.full(40, 0.8)
    after = before + np.r_[-0.3, -0.005, np.full(37, 0.1), -0.02]
    told = harm(before, after, [f"clip{i}" for i in range(40)])
    assert told.harmed == (("clip0", pytest.approx(-0.3)), ("clip39", pytest.approx(-0.02)))
    assert told.worse == 2 / 40 and told.worst == pytest.approx(-0.3) and told.worst_clip == "clip0"
    assert told.tail == pytest.approx(-0.16)  # of two clips


@pytest.mark.parametrize(("count", "total"), [(0, 7), (1, 40), (20, 40), (40, 40)])
def test_the_interval_is_wilsons(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(method="wilson")
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_scores_of_other_clips_are_refused() -> None:
    with pytest.raises(CoPropError, match="one score a clip"):
        harm([0.1, 0.2], [0.1, 0.3], ["a"])


def test_sets_are_labelled_as_the_real_ones_and_say_whether_they_were_fitted_on() -> None:
    for kind, binary in (("ms3", True), ("avss", False)):
        inside, outside = made_cases(MadeClips(kind, range(FITTED_SEEDS[-1], FITTED_SEEDS.stop + 1)), size=64)
        assert inside.truth.binary == outside.truth.binary == binary
        assert (inside.held_out, outside.held_out) == (False, True)


def test_the_table_shows_harm_beside_means(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = f"{FITTED_SEEDS.stop}-{FITTED_SEEDS.stop + 1}"
    asked = ["--like", "ms3", "--size", "64", "--simulators", "perfect,drop_touching:1"]
    assert main(["study", "plug-in", "--seeds", seeds, *asked]) == 0
    told = capsys.readouterr().out
    assert "held-out" in told and "worse" in told and "tail" in told and "harmed clips" in told


def test_every_harmed_clip_has_its_report(tmp_path: Path) -> None:
    seeds = f"{FITTED_SEEDS.stop}-{FITTED_SEEDS.stop}"
    asked = ["--simulators", "perfect", "--policies", "replace", "--generators", "none", "--size", "64"]
    assert main(["study", "plug-in", "--seeds", seeds, *asked, "-o", str(tmp_path)]) == 0
    (row,) = (row for row in json.loads((tmp_path / "study.json").read_text()) if row["policy"] == "replace")
    harmed = [clip for clip, _ in row["harm"]["harmed"]]
    assert harmed and list(row["reports"]) == harmed
    assert all((tmp_path / page).read_text(encoding="utf-8").startswith("<!") for page in row["reports"].values())
