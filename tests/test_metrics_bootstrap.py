"""Paired bootstrap and its tests: by hand, by brute force, and against each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from coprop_plugin.errors import CoPropError
from coprop_plugin.metrics.bootstrap import (
    paired_bootstrap,
    paired_bootstrap_of_sums,
    sign_flip_test,
    sign_test,
)
from coprop_plugin.metrics.curves import Curve, Curves, compact
from coprop_plugin.metrics.sums import exact_sum, stack

BEFORE, AFTER = np.array([0.50, 0.62, 0.71, 0.40, 0.55]), np.array([0.58, 0.60, 0.75, 0.52, 0.55])


def test_worked_by_hand() -> None:
    d = paired_bootstrap(BEFORE, AFTER, draws=10000, seed=0, level=0.95)
    assert (d.delta, d.low, d.high) == pytest.approx((0.044, 0.0, 0.088), abs=1e-9)
    assert (d.videos, d.better, d.worse, d.same, d.draws, d.seed) == (5, 3, 1, 1, 10000, 0)
    assert d == paired_bootstrap(BEFORE, AFTER, draws=10000, seed=0, level=0.95)  # seeded


def test_a_ratio_of_sums_is_drawn_as_a_whole() -> None:
    """The interval of a pooled ratio equals that of drawing videos and pooling them by hand."""
    rng = np.random.default_rng(1)
    hits, frames = rng.integers(0, 5, (2, 7)), rng.integers(5, 10, 7)
    sides = ({"hits": h.astype(float), "frames": frames.astype(float)} for h in hits)
    d = paired_bootstrap_of_sums(*sides, lambda t: {"rate": t["hits"] / t["frames"]}, draws=500, seed=3)["rate"]
    picks = np.random.default_rng(3).integers(0, 7, (500, 7))
    drawn = (hits[1][picks].sum(axis=1) - hits[0][picks].sum(axis=1)) / frames[picks].sum(axis=1)
    assert (d.low, d.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert d.delta == pytest.approx((hits[1].sum() - hits[0].sum()) / frames.sum())


def test_the_sign_test_is_exact() -> None:
    assert sign_test(5, 0) == pytest.approx(2 / 2**5)
    assert sign_test(3, 1) == pytest.approx(2 * (1 + 4) / 2**4)
    assert sign_test(2, 2) == 1 and sign_test(0, 0) == 1


def test_the_flip_test_tries_every_pattern_of_few_videos() -> None:
    differences = AFTER - BEFORE
    patterns = np.array(list(itertools.product((1, -1), repeat=5))) @ differences
    wanted = np.mean(np.abs(patterns) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_test(differences) == pytest.approx(wanted)


def test_the_flip_test_draws_patterns_of_many_videos() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 60)
    assert sign_flip_test(noise - noise.mean()) > 0.9
    assert sign_flip_test(noise + 5) == pytest.approx(1 / 10001)
    assert sign_flip_test(noise, seed=1) == sign_flip_test(noise, seed=1)


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        (BEFORE, AFTER[:4], {}, r"one value a video, got \(5,\) and \(4,\)"),
        (BEFORE[:0], AFTER[:0], {}, "one value a video"),
        (BEFORE, np.where(AFTER > 0.7, np.nan, AFTER), {}, "finite values"),
        (BEFORE, AFTER, {"level": 95}, "level between 0 and 1"),
        (BEFORE, AFTER, {"draws": 0}, "draws"),
    ],
)
def test_what_does_not_fit_is_refused(before: np.ndarray, after: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        paired_bootstrap(before, after, **options)


@pytest.mark.parametrize("stretches", [1, 2, 3])
@pytest.mark.parametrize("shape", [(8,), (2, 6)])
def test_curves_kept_short_give_what_whole_ones_give(stretches: int, shape: tuple[int, ...]) -> None:
    """Totals, draws, numbers of each video and differences are those of whole arrays."""
    rng = np.random.default_rng(stretches)
    size = int(np.prod(shape))
    rows = []
    for _ in range(700):
        cuts = np.sort(rng.choice(np.arange(1, 3), stretches - 1, replace=False))
        curve = np.repeat(rng.random(stretches), np.diff([0, *cuts, size])).reshape(shape)
        rows.append({"curve": curve.tolist(), "n": 1.0})
    short = stack([{name: compact(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows])
    whole = stack(rows)
    assert isinstance(short["curve"], Curves) and isinstance(whole["curve"], np.ndarray)
    assert short["curve"].numbers.size <= 3 * len(rows) and len(short["curve"]) == len(rows)
    np.testing.assert_array_equal(short["curve"][:], whole["curve"])
    np.testing.assert_array_equal(exact_sum(short["curve"]), exact_sum(whole["curve"]))

    def best(total: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"best": total["curve"].reshape(len(total["n"]), -1).max(axis=1) / total["n"]}

    ours, theirs = (paired_bootstrap_of_sums(s, s | {"n": 2 * s["n"]}, best, draws=40)["best"] for s in (short, whole))
    for name, value in theirs.as_dict().items():
        assert ours.as_dict()[name] == pytest.approx(value, rel=1e-12), name


def test_a_curve_stands_where_an_array_would() -> None:
    for values in ([0.5] + [0.25] * 9, [[1, 1, 1], [1, 1, 2]], [1.0, 2.0, 3.0], [], [7]):
        short = compact(values)
        np.testing.assert_array_equal(np.asarray(short), np.array(values))
        np.testing.assert_array_equal(np.asarray(short).shape, np.array(values).shape)
    assert not isinstance(compact([1.0, 2.0, 3.0]), Curve)
