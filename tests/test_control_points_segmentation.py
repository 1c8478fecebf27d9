"""The dynamic programme equals trying every segmentation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from coprop_plugin.control_points.cells import NUM_CEPSTRA, PLAIN_DB, Cells
from coprop_plugin.control_points.segmentation import (
    LEAST_VARIANCE,
    SILENT,
    USUAL_VARIANCE,
    Prices,
    best_segments,
    change_probabilities,
    segment_costs,
)
from coprop_plugin.errors import CoPropError


def all_segmentations(stop: int, start: int = 0, before: int | None = None) -> Iterator[list[tuple[int, int]]]:
    """Every way to cut ``[start, stop)`` into segments of two states, silent never after silent."""
    if start == stop:
        yield []
    for end in range(start + 1, stop + 1):
        for state in (0, 1):
            if not (state == SILENT and before == SILENT):
                for rest in all_segmentations(stop, end, state):
                    yield [(start, state), *rest]


def cost_of(segments: list[tuple[int, int]], costs: np.ndarray, cut: np.ndarray) -> float:
    stops = [*(start for start, _ in segments[1:]), len(cut) - 1]
    return sum(costs[k, a, b] + (cut[a] if a else 0) for (a, k), b in zip(segments, stops, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_the_best_and_the_probabilities_equal_brute_force(seed: int) -> None:
    rng, n = np.random.default_rng(seed), 7
    costs, cut = rng.exponential(3, (2, n + 1, n + 1)), rng.exponential(1, n + 1)
    costs[:, np.subtract.outer(np.arange(n + 1), np.arange(n + 1)) > -1 - seed % 2] = 1e9  # some too short
    every = [s for s in all_segmentations(n) if cost_of(s, costs, cut) < 1e8]
    totals = np.array([cost_of(s, costs, cut) for s in every])
    assert best_segments(costs, cut) == every[totals.argmin()]
    weight = np.exp(-(totals - totals.min()) / 1.7)
    expected = np.zeros(n + 1)
    for segments, share in zip(every, weight / weight.sum(), strict=True):
        for start, _ in segments[1:]:
            expected[start] += share
    assert change_probabilities(costs, cut, temperature=1.7) == pytest.approx(expected, abs=1e-9)


def test_costs_are_those_of_each_segment_on_its_own() -> None:
    rng, n, prices = np.random.default_rng(0), 20, Prices(min_cells=1, min_silent_cells=1)
    cells = Cells(rng.normal(3, 4, n), rng.normal(0, 5, (n, NUM_CEPSTRA)))
    plainly = np.minimum((cells.margin_db / PLAIN_DB) ** 2, 1)
    assert 3 < cells.active.sum() < n
    costs = segment_costs(cells, prices)
    for start, stop in ((0, 6), (3, 20), (0, 20), (9, 17)):
        heard = cells.timbre[start:stop][cells.active[start:stop]] / np.sqrt(USUAL_VARIANCE)
        number, scatter = len(heard), ((heard - heard.mean(axis=0)) ** 2).sum(axis=0)
        spread = np.log((scatter + prices.prior_cells) / (number + prices.prior_cells) + LEAST_VARIANCE).sum()
        gap_s, stray_s = ((plainly * on)[start:stop].sum() / 10 for on in (~cells.active, cells.active))
        sounding = prices.evidence * 0.5 * (number + prices.prior_cells) * spread + prices.gap_a_s * gap_s
        assert costs[:, start, stop] == pytest.approx([sounding, prices.stray_a_s * stray_s])


def test_no_segment_is_too_short_unless_the_sound_is() -> None:
    cells = Cells(np.ones(8), np.zeros((8, NUM_CEPSTRA)))
    costs = segment_costs(cells, Prices(min_cells=3, min_silent_cells=5))
    length = np.subtract.outer(np.arange(9), np.arange(9)).T
    assert (costs[0, length < 3] == 1e9).all() and (costs[0, length >= 3] < 1e6).all()
    assert (costs[1, length < 5] == 1e9).all() and (costs[1, length >= 5] < 1e6).all()
    short = Cells(np.ones(2), np.zeros((2, NUM_CEPSTRA)))
    assert best_segments(segment_costs(short, Prices()), np.ones(3)) == [(0, 0)]


@pytest.mark.parametrize("wrong", [{"change": -1.0}, {"gap_a_s": 0.0}, {"evidence": float("nan")}])
def test_prices_are_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(CoPropError, match=f"the price '{next(iter(wrong))}' must be positive"):
        Prices(**wrong)
