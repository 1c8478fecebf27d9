"""Flicker, silence, windows, tubes, onsets and DAVIS on examples worked by hand, and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from coprop_plugin.errors import CoPropError
from coprop_plugin.metrics import davis, onsets, temporal
from coprop_plugin.metrics.protocols import score
from coprop_plugin.structures import ControlPoints, Prediction

GIRL, DOG, BOTH, SILENT = np.zeros((4, 4, 6), int)
GIRL[:3, :2] = 1
DOG[1:3, 4:] = 2
BOTH[:] = GIRL + DOG
TRUTH = np.stack([GIRL, GIRL, DOG, DOG, SILENT])
LAGGING = np.stack([GIRL, BOTH, BOTH, DOG, DOG])


def scores_of(predicted: np.ndarray, protocol: str, *, truth: np.ndarray = TRUTH, **known: object) -> dict:
    sides = (Prediction.from_labels(x, class_ids=(1, 2)) for x in (predicted, truth))
    return score(*sides, protocol=protocol, **known)


def test_temporal_numbers_worked_by_hand() -> None:
    scores = scores_of(LAGGING, "temporal")
    assert (scores["flicker"], scores["flicker/truth"], scores["excess_flicker"]) == (0.5, 0, 0.5)
    assert (scores["silent_frames"], scores["silent_exact"]) == (1, 0)
    assert scores["silent_false_area"] == pytest.approx(4 / 24)
    assert scores["VC2"] == pytest.approx((20 / 24 + 18 / 24) / 2)  # the two windows inside a portion
    assert scores["VC3"] is None  # no portion has three frames
    girl = 12 * 12 / 18 / 12  # its own track overlaps it in two frames; the dog's track overlaps no girl
    dog = 8 * 8 / 16 / 8
    assert scores["STQ/AQ"] == pytest.approx((girl + dog) / 2)
    assert scores["STQ"] == pytest.approx(np.sqrt(scores["STQ/AQ"] * scores["STQ/SQ"]))


def plain_stq(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """AQ and SQ of ``(T, H, W)`` labels with one track a class, pixel sets and loops throughout (deeplab2's rule)."""
    known = truth >= 0
    tracks, tubes = (
        {c: set(np.flatnonzero((maps == c) & known).tolist()) for c in np.unique(maps[known]).tolist()}
        for maps in (predicted, truth)
    )
    qualities = [
        sum(len(t & g) * len(t & g) / len(t | g) for c, t in tracks.items() if c) / len(g)
        for c, g in tubes.items()
        if c
    ]
    none: set[int] = set()
    ious = [
        len(tracks.get(c, none) & tubes.get(c, none)) / len(tracks.get(c, none) | tubes.get(c, none))
        for c in tracks.keys() | tubes.keys()
    ]
    return float(np.mean(qualities)) if qualities else float("nan"), float(np.mean(ious))


def test_a_tube_found_under_two_classes_is_associated_in_part() -> None:
    """Class 3 in 4 px of two frames, predicted as 3 in the first and as 5 in the second: (4*4/8 + 4*4/8) / 8."""
    truth, predicted = np.zeros((2, 2, 4, 4), int)
    truth[:, :2, :2] = 3
    predicted[0, :2, :2], predicted[1, :2, :2] = 3, 5
    sides = (Prediction.from_labels(maps, class_ids=(3, 5)) for maps in (predicted, truth))
    scores = score(*sides, protocol="temporal")
    assert scores["STQ/AQ"] == 0.5
    assert plain_stq(predicted, truth)[0] == 0.5


@pytest.mark.parametrize("seed", range(40))
def test_stq_equals_a_plain_implementation_whatever_the_classes_are_paired_with(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = (1, 2, 4, 7)[: 1 + seed % 4]
    shape = (rng.integers(1, 5), 5, 6)
    truth = rng.choice((0, *ids), shape)
    wrong = rng.choice((0, *ids), shape)
    predicted = np.where(rng.random(shape) < rng.random(), truth, wrong)
    if seed % 3 == 0:  # a class of the truth is called by another's name in some frames
        predicted = np.where((truth == ids[0]) & (rng.random((shape[0], 1, 1)) < 0.5), ids[-1], predicted)
    if seed % 4 == 0:
        truth[rng.random(shape) < 0.2] = -1
    scores = score(*(Prediction.from_labels(maps, class_ids=ids) for maps in (predicted, truth)), protocol="temporal")
    aq, sq = plain_stq(predicted, truth)
    assert scores["STQ/SQ"] == pytest.approx(sq)
    assert scores["STQ/AQ"] == (pytest.approx(aq) if aq == aq else None)


def test_a_perfect_prediction() -> None:
    scores = scores_of(TRUTH, "temporal")
    assert [scores[k] for k in ("excess_flicker", "silent_exact", "silent_false_area", "VC2", "STQ")] == [0, 1, 0, 1, 1]


def test_a_prediction_that_never_changes_wins_nothing_across_portions() -> None:
    """Windows and pairs that hold a change of the truth are left out."""
    frozen = np.stack([BOTH] * 5)
    given = ControlPoints(np.ones(5))
    scores = scores_of(frozen, "temporal", truth_control_points=given)
    assert scores["VC2"] is None and scores["excess_flicker"] is None
    assert scores_of(frozen, "temporal")["VC2"] == 1


def test_a_missing_truth_breaks_the_chain_of_frames() -> None:
    truth = np.stack([GIRL, GIRL, GIRL, GIRL])
    predicted = np.stack([GIRL, SILENT, SILENT, GIRL])
    assert scores_of(predicted, "temporal", truth=truth)["flicker"] == pytest.approx(2 / 3)
    truth[2] = -1
    scores = scores_of(predicted, "temporal", truth=truth)
    assert scores["flicker"] == 1 and scores.about["frames_without_truth"] == 1  # the pair (0, 1) is left


def test_windows_without_a_constant_truth_have_no_value() -> None:
    one, other = np.zeros((1, 2, 2), int), np.ones((1, 2, 2), int)
    assert np.isnan(temporal.window_consistency([one, one], [one, other]))


@pytest.mark.parametrize("seed", range(20))
def test_events_are_paired_at_the_least_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, true = (sorted(rng.choice(12, rng.integers(1, 4), replace=False).tolist()) for _ in range(2))
    within = 2
    lags = onsets.paired(predicted, true, within_frames=within)
    assert all(abs(lag) <= within for lag in lags)

    def cost(pairs: list[tuple[int, int]]) -> int:
        return sum(min(abs(p - g), within + 1) for p, g in pairs) + (within + 1) * (len(short) - len(pairs))

    short, long = sorted((predicted, true), key=len)
    best = min(cost(list(zip(short, order, strict=True))) for order in itertools.permutations(long, len(short)))
    assert sum(map(abs, lags)) + (within + 1) * (len(short) - len(lags)) == best


def test_onsets_and_offsets_worked_by_hand() -> None:
    scores = scores_of(LAGGING, "onsets", frame_s=0.5)
    # the dog starts at 2, predicted 1; the girl stops at 2, predicted 3; the dog stops at 4, predicted never
    assert (scores["onset_error_frames"], scores["onset_lag_frames"], scores["onset_missed"]) == (1, -1, 0)
    assert (scores["offset_error_frames"], scores["offset_lag_frames"], scores["offset_missed"]) == (1, 1, 0.5)
    assert scores["onset_error_s"] == 0.5 and scores["offset_spurious"] == 0
    assert scores_of(LAGGING, "onsets")["onset_error_s"] is None
    assert scores_of(LAGGING, "onsets:within=0")["onset_missed"] == 1
    steady = scores_of(np.stack([GIRL] * 3), "onsets", truth=np.stack([GIRL] * 3))
    assert steady["onset_error_frames"] is None and steady["onset_missed"] is None


def test_davis_edges() -> None:
    empty, full, blob = np.zeros((3, 20, 20), bool)
    full[:] = True
    blob[5:10, 5:10] = True
    assert (davis.region_j(empty, empty), davis.contour_f(empty, empty)) == (1, 1)
    assert (davis.region_j(full, empty), davis.contour_f(full, empty)) == (0, 1)  # neither has a boundary
    assert (davis.region_j(blob, ~blob), davis.contour_f(blob, ~blob)) == (0, 1)  # the same boundary
    assert davis.contour_f(blob, empty) == 0 and davis.contour_f(blob, blob) == 1
    shifted = np.roll(blob, 1, axis=1)
    assert davis.contour_f(shifted, blob, bound_th=1) == 1 > davis.contour_f(np.roll(blob, 6, axis=1), blob)


def test_davis_averages_objects_and_leaves_frames_out() -> None:
    scores = scores_of(LAGGING, "davis")
    girl, dog = np.mean([1, 1, 0, 1, 1]), np.mean([1, 0, 1, 1, 0])
    assert scores["J"] == pytest.approx((girl + dog) / 2)
    assert scores["J&F"] == pytest.approx((scores["J"] + scores["F"]) / 2)
    inner = scores_of(LAGGING, "davis:frames=inner")
    assert inner["J"] == pytest.approx((np.mean([1, 0, 1]) + np.mean([0, 1, 1])) / 2)
    assert scores_of(TRUTH, "davis", truth=np.zeros_like(TRUTH))["J"] is None  # no object, no value
    with pytest.raises(CoPropError, match="'all' or 'inner', not 'outer'"):
        scores_of(LAGGING, "davis:frames=outer")


def test_davis_decay_compares_quarters_that_share_a_frame() -> None:
    values = np.array([1, 1, 1, 0.2, 0.2, 0.2, 0, 0])
    mean, recall, decay = davis.statistics(values)
    assert (mean, recall) == (pytest.approx(0.45), 3 / 8)
    assert decay == pytest.approx(values[0:3].mean() - values[5:8].mean())
