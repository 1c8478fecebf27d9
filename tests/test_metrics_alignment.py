"""Alignment, control points, split and MOC on examples worked by hand, and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from coprop_plugin.datasets import moc
from coprop_plugin.metrics import alignment, control_points, split
from coprop_plugin.metrics.alignment import frame_alignment
from coprop_plugin.metrics.protocols import score
from coprop_plugin.structures import ControlPoints, Prediction, change_flags, class_sets

GIRL, DOG, BOTH, SILENT = np.zeros((4, 4, 6), int)
GIRL[:3, :2] = 1
DOG[1:3, 4:] = 2
BOTH[:] = GIRL + DOG
TRUTH = np.stack([GIRL, GIRL, DOG, DOG, SILENT])
LAGGING = np.stack([GIRL, BOTH, BOTH, DOG, DOG])  # a silent dog is kept, the girl lingers, silence is missed
DOG_AT_GIRL = np.where(GIRL > 0, 2, 0)


def scores_of(predicted: np.ndarray, protocol: str, *, truth: np.ndarray = TRUTH, **known: object) -> dict:
    sides = (Prediction.from_labels(x, class_ids=(1, 2)) for x in (predicted, truth))
    return score(*sides, protocol=protocol, **known)


def test_a_lagging_prediction_worked_by_hand() -> None:
    frames = [frame_alignment(p, g) for p, g in zip(LAGGING, TRUTH, strict=True)]
    assert [f.same_set for f in frames] == [True, False, False, True, False]
    assert [f.binary_iou for f in frames] == pytest.approx([1, 0.6, 0.4, 1, 0])
    scores = scores_of(LAGGING, "alignment")
    assert scores["alignment_set"] == pytest.approx(2 / 5)
    assert scores["alignment_iou@0.5"] == pytest.approx(2 / 5)
    assert scores["alignment_binary@0.5"] == pytest.approx(3 / 5)
    assert scores["alignment_binary@0.05:0.95"] == pytest.approx(58 / 95)
    assert scores_of(LAGGING, "alignment:tau=0.75")["alignment_binary@0.75"] == pytest.approx(2 / 5)
    assert (scores["alignment_set/silent"], scores["alignment_set/one"]) == (0, 0.5)
    assert scores["alignment_set/several"] is None
    assert [scores[f"alignment_set/change {d}"] for d in ("0", "1", "2+", "none")] == [0, 0.5, 1, None]


def test_the_right_class_in_the_wrong_place_is_aligned_by_set_only() -> None:
    predicted = TRUTH.copy()
    predicted[3] = DOG_AT_GIRL
    scores = scores_of(predicted, "alignment")
    assert (scores["alignment_set"], scores["alignment_iou@0.5"], scores["alignment_binary@0.5"]) == (1, 0.8, 0.8)


def test_specks_are_dropped_before_anything_is_compared() -> None:
    predicted = TRUTH.copy()
    predicted[0, 3, 5] = 2
    predicted[4, 0, 0] = predicted[4, 2, 2] = 1
    for min_area, rate in ((1, 3 / 5), (2, 4 / 5), (3, 1)):
        scores = scores_of(predicted, f"alignment:min_area={min_area}")
        assert scores["alignment_set"] == pytest.approx(rate)
        silent = scores["alignment_set/silent"], scores["alignment_binary@0.5/silent"]
        assert silent == ((1, 1) if min_area == 3 else (0, 0))  # sets and masks agree on silence


def test_two_specks_of_different_classes_are_still_specks() -> None:
    predicted = np.zeros((4, 6), int)
    predicted[0, 0], predicted[0, 1] = 1, 2
    assert frame_alignment(predicted, SILENT, min_area_px=2).at(0.5) == (True, True)


def test_the_default_speck_is_a_thousandth_of_the_frame_rounded_up() -> None:
    assert alignment.min_area_px((224, 224)) == 51
    assert alignment.min_area_px((10, 100)) == 1
    assert alignment.min_area_px((10, 10)) == 1


def test_ignored_pixels_do_not_count() -> None:
    truth, predicted = TRUTH.copy(), TRUTH.copy()
    predicted[0, :, 4:] = 2
    assert scores_of(predicted, "alignment", truth=truth)["alignment_set"] == 0.8
    truth[0, :, 4:] = -1
    assert scores_of(predicted, "alignment", truth=truth)["alignment_set"] == 1


def test_binary_masks_have_the_binary_rates_only() -> None:
    sides = (Prediction.from_labels((x > 0).astype(int)) for x in (LAGGING, TRUTH))
    scores = score(*sides, protocol="alignment")
    assert scores["alignment_binary@0.5"] == pytest.approx(3 / 5)
    assert not [name for name in scores if name.startswith(("alignment_set", "alignment_iou"))]


def test_taus_are_twentieths() -> None:
    assert alignment.TAUS[11] == 0.6 and 12 * 0.05 > 0.6
    assert "alignment_set/one" in scores_of(LAGGING, "alignment:tau=0.95")
    frame = alignment.FrameAlignment(True, 0.6, 0.6, frozenset({1}))
    assert sum(frame.at(tau)[0] for tau in alignment.TAUS) == 12


def test_frames_without_a_truth_change_nothing() -> None:
    one, two = frozenset({1}), frozenset({2})
    assert alignment.flags_of_sets({1: one, 3: two}, 5).tolist() == [True, False, False, True, False]
    assert alignment.flags_of_sets({0: one}, 3).tolist() == [True, False, False]  # S4's training videos


def test_distances_to_the_nearest_change() -> None:
    assert alignment.distance_to_change(np.array([1, 0, 0, 0, 1, 0])) == ["2+", "2+", "2+", "1", "0", "1"]
    assert alignment.distance_to_change(np.array([1, 0, 0])) == ["none"] * 3


def best_matching(predicted: list[int], true: list[int], tolerance: int) -> int:
    """The largest one-to-one matching, by trying every assignment."""
    short, long = sorted((predicted, true), key=len)
    tries = itertools.permutations([*long, *[None] * len(short)], len(short))
    return max(sum(b is not None and abs(a - b) <= tolerance for a, b in zip(short, t, strict=True)) for t in tries)


@pytest.mark.parametrize("seed", range(30))
def test_matching_is_the_largest_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, true = (sorted(rng.choice(10, rng.integers(0, 4), replace=False).tolist()) for _ in range(2))
    for tolerance in range(4):
        wanted = best_matching(predicted, true, tolerance)
        assert control_points.matches(predicted, true, tolerance=tolerance) == wanted


def flags(*changes: int, frames: int = 5) -> np.ndarray:
    return np.isin(np.arange(frames), (0, *changes))


def test_control_points_worked_by_hand() -> None:
    pairs = [(flags(3), flags(2)), (flags(2), flags()), (flags(3), flags(3, 4))]
    rows = [control_points.list_sums(p, g) for p, g in pairs]
    scores = control_points.point_scores({k: np.sum([r[k] for r in rows], axis=0)[None] for k in rows[0]})
    assert [scores[f"F1@{d}"][0] for d in (0, 1, 2)] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert scores["exact_list"][0] == 0
    assert scores["any_change/accuracy"][0] == pytest.approx(2 / 3)
    assert scores["any_change/balanced_accuracy"][0] == pytest.approx(1 / 2)
    table = [
        scores[f"any_change/{name}"][0] for name in ("true_and_predicted", "only_true", "only_predicted", "neither")
    ]
    assert table == [2, 0, 1, 0]


def test_nothing_to_find() -> None:
    def scores(predicted: np.ndarray, true: np.ndarray) -> list[float]:
        sums = control_points.list_sums(predicted, true)
        values = control_points.point_scores({k: np.array(v)[None] for k, v in sums.items()})
        return [float(values[f"{name}@0"][0]) for name in ("precision", "recall", "F1")]

    assert scores(flags(), flags()) == [1, 1, 1]
    assert scores(flags(2), flags()) == [0, 0, 0]
    assert scores(flags(), flags(2)) == [0, 0, 0]


def test_given_points_win_over_those_of_the_masks() -> None:
    from_masks = scores_of(LAGGING, "control-points")
    assert (from_masks["F1@0"], from_masks["F1@1"]) == (0, 1)  # {1, 3} against {2, 4}
    given = ControlPoints(change_flags(class_sets(TRUTH)))
    assert scores_of(LAGGING, "control-points", control_points=given)["exact_list"] == 1
    other = ControlPoints(flags(1))
    assert scores_of(LAGGING, "control-points", control_points=given, truth_control_points=other)["F1@0"] == 0


def test_key_and_normal_frames_make_up_the_whole() -> None:
    frames = split.split_mean([0.9, 0.8, 0.4, 0.6, 0.7, 0.5, 0.9, 0.9, 0.9, 0.8], [1, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    assert [frames[k] for k in ("key", "normal", "all", "key_share")] == pytest.approx([0.6, 0.8, 0.74, 0.3])
    sides = [Prediction.from_labels((x > 0).astype(int)) for x in (LAGGING, TRUTH)]
    points = ControlPoints(flags(2, 4))
    scores = score(*sides, protocol="split", control_points=points)
    share = scores["key_share"]
    whole = share * scores["key_M_J"] + (1 - share) * scores["normal_M_J"]
    assert scores["all_M_J"] == pytest.approx(whole, abs=1e-9)
    assert scores["key_M_J"] == pytest.approx((1 + 0.4 + 20 / 24) / 3)
    assert scores["normal_M_J"] == pytest.approx(0.8)
    assert scores["all_M_F"] == score(*sides, protocol="batch-free")["M_F"] and scores.hard
    only_keys = score(*sides, protocol="split", control_points=ControlPoints(np.ones(5)))
    assert only_keys["normal_M_J"] is None and only_keys["key_M_J"] == only_keys["all_M_J"]


def test_moc_are_the_videos_whose_categories_change() -> None:
    one, two, nothing = frozenset({1}), frozenset({1, 2}), frozenset()
    assert moc.in_moc([one, one, two])
    assert not moc.in_moc([one, one])
    assert moc.in_moc([one, nothing, one]) and not moc.in_moc([one, nothing, one], silence_counts=False)
    assert moc.in_moc([one, nothing, two], silence_counts=False)
