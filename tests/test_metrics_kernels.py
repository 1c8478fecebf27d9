"""Each fast kernel beside its slow reference: loops over pixels and sets that say what is meant."""

from __future__ import annotations

import numpy as np
import pytest

from coprop_plugin.masks.labels import channel_map
from coprop_plugin.masks.probability import softmax
from coprop_plugin.masks.resize import nearest
from coprop_plugin.metrics.alignment import any_object_iou, frame_alignment
from coprop_plugin.metrics.bootstrap import draw_counts, sign_flip_test, sign_test
from coprop_plugin.metrics.class_counts import class_counts, confusion
from coprop_plugin.metrics.sums import exact_sum
from coprop_plugin.metrics.temporal import association_quality, window_consistency
from coprop_plugin.structures.prediction import best_channel

SEEDS = range(12)


def maps(seed: int, *, count: int = 1, classes: int = 4, ignored: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, classes, (5, 7)) for _ in range(count)]
    if ignored:
        drawn[-1][rng.random((5, 7)) < 0.3] = -1
    return drawn


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_and_class_counts(seed: int) -> None:
    labels, truth = maps(seed, count=2, ignored=True)
    slow = np.zeros((4, 4), int)
    for p, g in zip(labels.ravel(), truth.ravel(), strict=True):
        if g >= 0:
            slow[p, g] += 1
    np.testing.assert_array_equal(confusion(labels, truth, 4), slow)
    wanted = [[slow[c, c] for c in range(4)], [sum(slow[c]) for c in range(4)], [sum(slow[:, c]) for c in range(4)]]
    np.testing.assert_array_equal(class_counts(labels, truth, 4), wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_best_channels(seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 3, (4, 5, 6)).astype(np.float32)  # many ties
    slow = np.empty((5, 6), int)
    for y, x in np.ndindex(5, 6):
        slow[y, x] = list(scores[:, y, x]).index(scores[:, y, x].max())
    np.testing.assert_array_equal(best_channel(scores), slow)
    np.testing.assert_array_equal(channel_map(scores, "probability"), slow)
    near = scores + np.random.default_rng(seed).normal(0, 1e-7, scores.shape).astype(np.float32)
    np.testing.assert_array_equal(channel_map(near, "logit"), softmax(near).argmax(axis=0))


@pytest.mark.parametrize("seed", SEEDS)
def test_alignment_of_a_frame(seed: int) -> None:
    labels, truth = maps(seed, count=2, classes=2 + seed % 3, ignored=True)
    least = 1 + seed % 6
    pixels = {
        role: {c: {i for i, v in enumerate(m.ravel()) if v == c and truth.ravel()[i] >= 0} for c in range(1, 5)}
        for role, m in (("labels", labels), ("truth", truth))
    }
    found = {c for c, where in pixels["labels"].items() if len(where) >= least}
    wanted = {c for c, where in pixels["truth"].items() if where}
    ious = [
        len((pixels["labels"][c] if c in found else set()) & pixels["truth"][c])
        / len((pixels["labels"][c] if c in found else set()) | pixels["truth"][c])
        for c in found | wanted
    ]
    shown, there = (set().union(*(pixels[r][c] for c in s)) for r, s in (("labels", found), ("truth", wanted)))
    fast = frame_alignment(labels, truth, min_area_px=least)
    assert (fast.same_set, fast.truth_set) == (found == wanted, wanted)
    assert fast.worst_class_iou == pytest.approx(min(ious, default=1.0))
    assert fast.binary_iou == pytest.approx(len(shown & there) / len(shown | there) if shown | there else 1.0)
    assert any_object_iou(labels * 0, labels * 0) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_and_tubes(seed: int) -> None:
    labels, truth = np.stack(maps(seed, count=3, classes=3)), np.stack(maps(seed + 50, count=3, classes=2))
    stay = kept = 0
    for y, x in np.ndindex(5, 7):
        if len({int(g[y, x]) for g in truth}) == 1:
            stay += 1
            kept += len({int(p[y, x]) for p in labels}) == 1
    assert window_consistency(labels, truth) == (
        pytest.approx(kept / stay) if stay else pytest.approx(np.nan, nan_ok=True)
    )
    tracks = np.random.default_rng(seed).integers(0, 9, (3, 4))
    slow = []
    for g in range(1, 4):
        size = sum(int(tracks[p, g]) for p in range(3))
        total = 0.0
        for p in range(1, 3):
            both = int(tracks[p, g])
            either = sum(map(int, tracks[p])) + size - both
            total += both * both / either if either else 0
        slow.append(total / size if size else np.nan)
    assert association_quality(tracks) == pytest.approx(slow, nan_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_nearest_pixels(seed: int) -> None:
    (labels,) = maps(seed)
    size = tuple(np.random.default_rng(seed).integers(1, 12, 2))
    slow = np.empty(size, int)
    for y, x in np.ndindex(*size):
        slow[y, x] = labels[int((y + 0.5) * 5 / size[0]), int((x + 0.5) * 7 / size[1])]
    np.testing.assert_array_equal(nearest(labels, size), slow)


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_draws_and_tests_over_videos(seed: int) -> None:
    from fractions import Fraction
    from itertools import product

    rng = np.random.default_rng(seed)
    values = rng.normal(0, 10.0 ** rng.integers(-8, 8, (9, 2)))
    slow = [float(sum(map(Fraction, column))) for column in values.T.tolist()]
    assert exact_sum(values).tolist() == exact_sum(values[::-1]).tolist() == slow
    (counts,) = draw_counts(5, draws=7, seed=seed)
    drawn = np.random.default_rng(seed).integers(0, 5, (7, 5))
    assert counts.tolist() == [[list(row).count(v) for v in range(5)] for row in drawn]
    differences = rng.normal(0.3, 1, 6)
    reached = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=6)]
    share = np.mean([r >= abs(differences.sum()) * (1 - 1e-12) for r in reached])
    assert sign_flip_test(differences) == pytest.approx(share)
    better = int((differences > 0).sum())
    tails = [min(k, 6 - k) <= min(better, 6 - better) for k in (sum(p) for p in product((0, 1), repeat=6))]
    assert sign_test(better, 6 - better) == pytest.approx(np.mean(tails))
