"""Semantic scores, label maps and colour maps against the plain published loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import published_metrics as published
import pytest
import torch

from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.labels import channel_map
from coprop_plugin.masks.palette import colours_to_labels
from coprop_plugin.metrics import semantic
from coprop_plugin.metrics.class_counts import class_counts
from coprop_plugin.metrics.protocols import score
from coprop_plugin.structures import Prediction

GOLDEN = json.loads((Path(__file__).parent / "data/metrics_golden.json").read_text())["semantic"]


def random_frames(seed: int, *, size: tuple[int, int] = (6, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``(N, C, H, W)`` with ties and target ``(N, H, W)`` with ignored pixels; some classes never occur."""
    rng = np.random.default_rng(seed)
    frames, classes = int(rng.integers(1, 7)), int(rng.integers(3, 12))
    logits = (rng.integers(-20, 21, (frames, classes, *size)) / 4).astype(np.float32)
    target = rng.integers(-1, classes - 1, (frames, *size)).astype(np.int16)
    target[rng.random(frames) < 0.2] = 0
    target[rng.random(frames) < 0.1] = -1
    return logits, target


def our_sums(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    counts = [class_counts(channel_map(z, "logit"), g, len(z)) for z, g in zip(logits, target, strict=True)]
    return semantic.class_sums(np.stack(counts))


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_published_loop(seed: int) -> None:
    logits, target = random_frames(seed)
    theirs = published.semantic_sums(torch.from_numpy(logits), torch.from_numpy(target).long())
    ours = our_sums(logits, target)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-5)
    scores = semantic.published_scores(*ours)
    if ours[2].any():
        assert (scores["M_J"], scores["M_F"]) == pytest.approx(published.semantic_scores(theirs), abs=2e-6)
    else:
        assert np.isnan(scores["M_J"]) and np.isnan(scores["M_F"])  # every pixel is ignored: not 0, not defined


def test_golden_values() -> None:
    for seed, wanted in GOLDEN.items():
        scores = semantic.published_scores(*our_sums(*random_frames(int(seed))))
        assert (scores["M_J"], scores["M_F"]) == pytest.approx(wanted, abs=2e-6), seed


def test_single_frames_equal_the_loop_to_the_bit() -> None:
    logits, target = random_frames(3)
    for z, g in zip(logits, target, strict=True):
        theirs = published.semantic_sums(torch.from_numpy(z[None]), torch.from_numpy(g[None]).long())
        iou, f, seen = semantic.frame_class_scores(class_counts(channel_map(z, "logit"), g, len(z)))
        np.testing.assert_array_equal(seen, theirs[2].numpy() > 0)
        np.testing.assert_array_equal(iou[seen], theirs[0].numpy()[seen])
        np.testing.assert_array_equal(f[seen], theirs[1].numpy()[seen])


@pytest.mark.parametrize("classes", [2, 71, 300])
def test_the_label_is_the_published_argmax(classes: int) -> None:
    """Also where float32 softmax ties two logits that differ, and with all scores equal."""
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 3, (classes, 40, 32)).astype(np.float32)
    logits -= logits.max(axis=0)
    for row in range(20):  # runners-up ever closer to the best, which is 0; lower classes and higher ones
        logits[row % classes, row] = np.minimum(logits[row % classes, row], -(2.0 ** (row - 38)))
        logits[rng.integers(0, classes), row] = -(2.0 ** (row - 38))
    logits[:, 30:] = 0
    wanted = torch.softmax(torch.from_numpy(logits), 0).argmax(0).numpy()
    np.testing.assert_array_equal(channel_map(logits, "logit"), wanted)
    assert (logits.argmax(axis=0) != wanted).any()  # the rule is needed
    probability = torch.softmax(torch.from_numpy(logits), 0).numpy()
    np.testing.assert_array_equal(channel_map(probability, "probability"), probability.argmax(axis=0))


def test_no_background_is_published_in_two_ways() -> None:
    target = np.array([[[0, 1, 2, 2]]], np.int16)
    labels = np.array([[[0, 1, 2, 1]]], np.int16)
    scores = semantic.published_scores(*semantic.class_sums(np.stack([class_counts(labels[0], target[0], 4)])))
    iou = np.array([1, 1 / 2, 1 / 2, 0])  # class 3 is never seen and counts 0
    assert scores["M_J"] == pytest.approx(iou.mean())
    assert scores["M_J/drop_first"] == pytest.approx(iou[1:].mean())
    assert scores["M_J/drop_last"] == pytest.approx(iou[:-1].mean())
    assert scores["M_J/present_only"] == pytest.approx(iou[:3].mean())
    assert scores["classes_seen"] == 3


def test_padding_adds_frames_of_background() -> None:
    _, target = random_frames(1)
    classes, frames = int(target.max()) + 1, len(target)
    target, rng = np.maximum(target, 0), np.random.default_rng(0)
    labels = np.where(rng.random(target.shape) < 0.3, rng.integers(0, classes, target.shape), target)
    ids = tuple(range(1, classes))
    empty = np.zeros((10 - frames, *target.shape[1:]), target.dtype)
    padded = [Prediction.from_labels(np.concatenate([x, empty]), class_ids=ids) for x in (labels, target)]
    unpadded = [Prediction.from_labels(x, class_ids=ids) for x in (labels, target)]
    ours = score(*unpadded, protocol="avsbench:pad=10")
    assert ours.protocol == "avsbench:pad=10"
    wanted = score(*padded, protocol="avsbench")
    assert {k: v for k, v in ours.items() if k.startswith("M_")} == {
        k: v for k, v in wanted.items() if k.startswith("M_")
    }
    assert ours["M_J"] > score(*unpadded, protocol="avsbench")["M_J"]


def test_per_dataset_pools_pixels_and_leaves_absent_classes_out() -> None:
    target = np.array([[[0, 0, 1, 1]], [[0, 1, 1, 3]]], np.int16)
    labels = np.array([[[0, 1, 1, 1]], [[0, 1, 0, 3]]], np.int16)
    sides = (Prediction.from_labels(x, class_ids=(1, 2, 3)) for x in (labels, target))
    scores = score(*sides, protocol="per-dataset")
    assert scores["mIoU"] == pytest.approx(np.mean([2 / 4, 3 / 5, 1]))  # class 2 never occurs
    assert scores["mIoU/foreground"] == pytest.approx(np.mean([3 / 5, 1]))
    f = 1.3 * 0.75 * 0.75 / (0.3 * 0.75 + 0.75)
    assert scores["F/foreground"] == pytest.approx(np.mean([f, 1]))


def test_classes_with_gaps_keep_their_ids() -> None:
    target, labels = np.array([[[0, 7, 7, 40]]]), np.array([[[0, 7, 40, 40]]])
    gaps = [Prediction.from_labels(x, class_ids=(7, 40)) for x in (labels, target)]
    dense = [Prediction.from_labels(np.searchsorted([0, 7, 40], x), class_ids=(1, 2)) for x in (labels, target)]
    for protocol in ("avsbench", "per-dataset", "temporal"):
        ours, wanted = score(*gaps, protocol=protocol), score(*dense, protocol=protocol)
        assert ours == wanted
    with pytest.raises(PredictionError, match=r"labels \[3\] are none of the classes \(7, 40\)"):
        semantic.channels_of(np.array([[0, 3, 7]]), (7, 40))


@pytest.mark.parametrize("value", [-2, 5])
def test_a_label_outside_the_classes_is_refused(value: int) -> None:
    labels, truth = np.zeros((2, 2), int), np.zeros((2, 2), int)
    labels[0, 0] = value
    with pytest.raises(PredictionError, match="label maps hold classes 0 to 4"):
        class_counts(labels, truth, 5)


def test_colours_become_labels() -> None:
    rng = np.random.default_rng(0)
    palette = np.unique(rng.integers(0, 256, (90, 3), np.uint8), axis=0)[:71]
    rgb = np.where(
        rng.random((40, 50, 1)) < 0.8, palette[rng.integers(0, 71, (40, 50))], rng.integers(0, 256, (40, 50, 3))
    )
    rgb = rgb.astype(np.uint8)
    wanted = published.colours_to_labels(torch.from_numpy(rgb), torch.from_numpy(palette)).numpy()
    np.testing.assert_array_equal(colours_to_labels(rgb, palette), wanted)
    np.testing.assert_array_equal(colours_to_labels(rgb[::2, ::-1], palette), wanted[::2, ::-1])  # a view
    known = palette[wanted]
    np.testing.assert_array_equal(colours_to_labels(known, palette, unknown="error"), wanted)


def test_unknown_colours_can_be_an_error() -> None:
    palette, rgb = np.array([[0, 0, 0], [128, 0, 0]], np.uint8), np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = (127, 0, 0)
    with pytest.raises(CoPropError, match=r"1 colours outside the palette, the first \(127, 0, 0\)"):
        colours_to_labels(rgb, palette, unknown="error")
    with pytest.raises(CoPropError, match=r"\(H, W, 3\) uint8, got float64"):
        colours_to_labels(rgb / 255, palette)
    with pytest.raises(CoPropError, match=r"palette is \(n, 3\) uint8"):
        colours_to_labels(rgb, palette[:, :2])
