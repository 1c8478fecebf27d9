"""Simulated base models: each errs as it says, from its seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from coprop_plugin.datasets.scene import Scene
from coprop_plugin.datasets.simulators import SIMULATORS, believed_states, signed_distance, simulate
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import CoPropError

SOUNDING = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [1, 0]], bool)


def toy() -> Scene:
    instances = np.zeros((6, 48, 64), np.uint8)
    instances[:, 8:40, 4:28], instances[:, 8:40, 36:60] = 1, 2
    return Scene(instances, {1: 11, 2: 17}, SOUNDING)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize(
    "name, strength, first, second",
    [
        ("perfect", 1, "110001", "001100"),
        ("coarse", 2, "110001", "001100"),
        ("lag", 1, "111000", "000110"),
        ("lag", 2, "111100", "000011"),
        ("linger", 1, "111001", "001110"),
        ("linger", 2, "111101", "001111"),
        ("early", 1, "110011", "011100"),
        ("early", 2, "110111", "111100"),
        ("ignore_sound", 1, "111101", "111101"),
        ("ignore_sound", 2, "111111", "111111"),
        ("leak", 2, "111111", "111111"),
    ],
)
def test_what_each_believes_and_draws(name, strength, first, second):
    scene = toy()
    expected = np.array([[c == "1" for c in states] for states in (first, second)]).T
    assert np.array_equal(believed_states(scene, name, strength=strength, seed=3), expected)
    prediction = simulate(scene, name, strength=strength, seed=3)
    for t in range(6):
        drawn = [np.any(prediction.label_map(t) == c) for c in scene.class_ids]
        assert drawn == expected[t].tolist()


def test_leak_keeps_one_object_and_flicker_toggles_its_share():
    scene = toy()
    kept = believed_states(scene, "leak", strength=1, seed=0) & ~SOUNDING
    assert kept.any(axis=0).sum() == 1
    for strength, count in ((1, 2), (2, 4)):  # 0.15 k of 12 states
        assert (believed_states(scene, "flicker", strength=strength, seed=1) ^ SOUNDING).sum() == count
    choices = {believed_states(scene, "leak", seed=s).tobytes() for s in range(12)}
    assert len(choices) == 2


def test_longer_than_the_clip_is_no_error():
    scene = toy()
    assert (believed_states(scene, "lag", strength=50) == SOUNDING[0]).all()
    assert believed_states(scene, "linger", strength=50)[-1].all()


@pytest.mark.parametrize("semantic", [True, False])
@pytest.mark.parametrize("name", SIMULATORS)
def test_probabilities_sum_to_one_and_do_not_depend_on_the_order_of_reading(name, semantic):
    scene = make_clip(7, kind="moc", size=(64, 80), semantic=semantic).scene
    forwards, backwards = (simulate(scene, name, strength=2, seed=4) for _ in range(2))
    assert forwards.kind == "probability" and forwards.class_ids == scene.class_ids
    later = [backwards.frame(t) for t in reversed(range(10))][::-1]
    for t in range(10):
        frame = forwards.frame(t)
        assert np.allclose(frame.sum(axis=0), 1, atol=1e-5) and frame.min() >= 0
        assert np.array_equal(frame, later[t])
        assert len(np.unique(frame)) > 20 or not forwards.label_map(t).any()  # soft edges


@pytest.mark.parametrize("semantic", [True, False])
def test_perfect_is_the_truth_at_one_half(semantic):
    for seed in range(4):
        scene = make_clip(seed, kind="moc", size=(96, 96), semantic=semantic).scene
        prediction, truth = simulate(scene, "perfect"), scene.truth()
        for t in range(10):
            labels, scores = truth.label_map(t), prediction.frame(t)
            assert np.array_equal(prediction.label_map(t), labels)
            for channel, class_id in enumerate((0, *scene.class_ids)):
                assert np.array_equal(scores[channel] > 0.5, labels == class_id)


def test_contours_are_drawn_about_as_well_as_real_models_draw_them():
    quality = {"lag": [], "coarse1": [], "coarse2": []}
    for seed in range(5):
        scene = make_clip(seed, kind="moc").scene
        for key, name, strength in (("lag", "lag", 1), ("coarse1", "coarse", 1), ("coarse2", "coarse", 2)):
            prediction = simulate(scene, name, strength=strength, seed=seed)
            for t in range(0, 10, 3):
                instances, labels = scene.instance_map(t), prediction.label_map(t)
                states = believed_states(scene, name, strength=strength)[t]
                quality[key] += [
                    iou(labels == scene.object_class[o], instances == o)
                    for o, drawn in zip(scene.object_ids, states, strict=True)
                    if drawn
                ]
    means = {key: np.mean(values) for key, values in quality.items()}
    assert 0.86 < means["lag"] < 0.94
    assert 0.5 < means["coarse2"] < means["coarse1"] - 0.05 < 0.85


def test_seeds_differ():
    scene = toy()
    one, other = (simulate(scene, "lag", seed=s).frame(0) for s in (0, 1))
    assert not np.array_equal(one, other)


def test_signed_distance_is_half_a_pixel_at_the_edge():
    mask = np.zeros((5, 7), bool)
    mask[:, 3:] = True
    assert signed_distance(mask)[2].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]
    assert (signed_distance(~mask | mask) > 8).all() and (signed_distance(mask & ~mask) < -8).all()


def test_errors_stay_at_the_contour_of_large_objects_too():
    y, x = np.mgrid[:480, :854]
    disc = ((y - 240) ** 2 + (x - 400) ** 2 < 150**2).astype(np.uint8)
    scene = Scene(disc[None], {1: 3}, np.ones((1, 1), bool))
    with np.errstate(over="raise"):
        for seed in range(4):
            drawn = simulate(scene, "coarse", strength=2, seed=seed).label_map(0) > 0
            assert 0.4 < iou(drawn, disc > 0) < 0.85
            distance = -signed_distance(disc > 0)
            assert distance[drawn].max() < 0.2 * 150 + 5 * 0.055 * 150


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("lagg", {}, "unknown simulator 'lagg'. Did you mean 'lag'"),
        ("lag", {"strength": 1.5}, "counts whole frames, got 1.5"),
        ("lag", {"strength": 0}, "lies above 0"),
        ("ignore_sound", {"strength": 3}, "at most 2"),
        ("flicker", {"strength": 7}, "at most 6.66667 shares of 0.15"),
        ("coarse", {"strength": float("nan")}, "lies above 0"),
        ("leak", {"seed": -1}, "a seed from 0 on"),
    ],
)
def test_bad_options_are_told(name, options, message):
    with pytest.raises(CoPropError, match=message):
        simulate(toy(), name, **options)
