"""The fast binary scores against the plain published loop, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import published_metrics as published
import pytest
import torch

from coprop_plugin.errors import CoPropError
from coprop_plugin.masks.probability import sigmoid
from coprop_plugin.metrics import binary
from coprop_plugin.metrics.binary import binary_frames, count_frame, count_mask, join, score_frames
from coprop_plugin.metrics.thresholds import THRESHOLDS, highest_threshold

GOLDEN = json.loads((Path(__file__).parent / "data/metrics_golden.json").read_text())["binary"]


def random_videos(seed: int, *, size: tuple[int, int] = (8, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Logits and 0/1 truth ``(V, T, H, W)``: coarse values (many ties), saturation, silent frames and videos."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 6)), *size)
    logits = (
        (rng.integers(-4000, 4001, shape) / rng.choice([100, 400, 1600, 999])).round(2 * (seed % 2)).astype(np.float32)
    )
    logits[rng.random(shape) < 0.1] = rng.choice([0, 40, -40, 200, -200, 1e-8, -1e-8])
    truth = (rng.random(shape) < rng.random(shape[:2])[..., None, None]).astype(np.uint8)
    truth[rng.random(shape[:2]) < 0.3] = 0
    truth[rng.random(shape[0]) < 0.2] = 0
    return logits, truth


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_equals_the_published_loop_to_the_bit(seed: int, batch: int) -> None:
    logits, truth = random_videos(seed)
    # as the published script has it: the sigmoid of a batch at once, so that its vector path meets the same pixels
    batches = []
    for start in range(0, len(logits), batch):
        z, g = (x[start : start + batch].reshape(-1, *logits.shape[2:]) for x in (logits, truth))
        frames = binary_frames(sigmoid(z), g)
        z_t, g_t = torch.from_numpy(z), torch.from_numpy(g.astype(np.float32))
        assert frames.mean_iou() == published.binary_iou(z_t, g_t)
        assert frames.max_f() == published.binary_f(z_t, g_t)
        assert (frames.iou == published.binary_iou_of_frames(z_t, g_t).numpy()).all()
        batches.append(frames)
    wanted = published.binary_test_set(torch.from_numpy(logits), torch.from_numpy(truth).float(), batch=batch)
    ours = np.mean([b.mean_iou() for b in batches]), np.mean([b.max_f() for b in batches])
    assert ours == pytest.approx(wanted, abs=1e-12)


def test_golden_values() -> None:
    """Numbers of the plain loop, stored: the suite notices if both it and the fast code change."""
    for seed, wanted in GOLDEN.items():
        logits, truth = random_videos(int(seed))
        videos = [binary_frames(sigmoid(z), g) for z, g in zip(logits, truth, strict=True)]
        for batch, values in wanted.items():
            ours = binary.mean_over_batches(videos, batch=int(batch))
            assert ours == pytest.approx(values, abs=2e-6), (seed, batch)


def test_the_stored_thresholds_are_the_rounded_formula() -> None:
    i, step = np.arange(255), float(np.float32(1) / np.float32(254))
    formula = np.where(i <= 127, i * step, 1 - (254 - i) * step).astype(np.float32)  # float64 rounds once, like an FMA
    np.testing.assert_array_equal(THRESHOLDS, formula)
    assert (THRESHOLDS[0], THRESHOLDS[127], THRESHOLDS[254]) == (0, 0.5, 1)
    theirs = torch.linspace(0, 1 - 1e-10, 255).numpy()
    np.testing.assert_allclose(THRESHOLDS, theirs, rtol=2e-7, atol=0)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch's list is the fused one on AVX only",
)
def test_the_stored_thresholds_are_torchs_on_avx() -> None:
    np.testing.assert_array_equal(THRESHOLDS, torch.linspace(0, 1 - 1e-10, 255).numpy())


def test_the_reached_threshold_is_exact_beside_every_threshold() -> None:
    beside = [THRESHOLDS]
    for direction in (np.float32(0), np.float32(1)):
        value = THRESHOLDS
        for _ in range(300):
            value = np.nextafter(value, direction)
            beside.append(value)
    rng = np.random.default_rng(0)
    spread = rng.random(200_000, dtype=np.float32)
    any_bits = rng.integers(0, 0x3F800001, 200_000).astype(np.int32).view(np.float32)  # every float in [0, 1]
    for values in (np.concatenate(beside), spread, any_bits):
        wanted = np.searchsorted(THRESHOLDS, values, side="right") - 1
        np.testing.assert_array_equal(highest_threshold(values), wanted)
        np.testing.assert_array_equal(highest_threshold(values[:, None][::-1]), wanted[:, None][::-1])


def test_memory_order_does_not_matter() -> None:
    logits, truth = random_videos(3, size=(16, 16))
    p, g = sigmoid(logits[0]), truth[0]
    turned = binary_frames(np.asfortranarray(p), np.asfortranarray(g))
    np.testing.assert_array_equal(turned.f_curve, binary_frames(p, g).f_curve)


@pytest.mark.parametrize("seed", range(4))
def test_hard_masks_are_probabilities_0_and_1(seed: int) -> None:
    _, truth = random_videos(seed)
    masks = np.random.default_rng(seed).random(truth.shape) < 0.4
    for mask, target in zip(masks, truth, strict=True):
        swept = binary_frames(mask.astype(np.float32), target)
        short = score_frames([count_mask(m, t) for m, t in zip(mask, target, strict=True)])
        for name in ("iou", "f_curve", "sounding"):
            np.testing.assert_array_equal(getattr(short, name), getattr(swept, name))


def test_hard_masks_as_logits_give_the_published_value() -> None:
    """0/1 masks fed to the published functions as logits: the same IoU, and an F of "everything" against "the mask"."""
    _, truth = random_videos(5)
    mask = np.random.default_rng(5).random(truth[0].shape) < 0.4
    z, g = torch.from_numpy(mask.astype(np.float32)), torch.from_numpy(truth[0].astype(np.float32))
    frames = score_frames([count_mask(m, t) for m, t in zip(mask, truth[0], strict=True)])
    assert (frames.mean_iou(), frames.max_f()) == (published.binary_iou(z, g), published.binary_f(z, g))


def test_ignored_pixels_are_as_if_they_were_not_there() -> None:
    logits, truth = random_videos(7)
    p, g = sigmoid(logits[0]), truth[0]
    valid = np.ones(g.shape, bool)
    valid[:, :, 8:] = False
    ours = binary_frames(p, g, valid=valid)
    cut = binary_frames(p[:, :, :8], g[:, :, :8])
    for name in ("iou", "f_curve", "sounding"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(cut, name))


def test_an_empty_truth_scores_the_share_left_background() -> None:
    p = np.zeros((1, 4, 5), np.float32)
    p[0, 0, 0] = 0.9
    frames = binary_frames(p, np.zeros((1, 4, 5), bool))
    assert frames.iou[0] == np.float32(19) / np.float32(20)
    assert frames.max_f() == 0.0


def test_nan_is_background_at_every_threshold() -> None:
    logits, truth = random_videos(2)
    z, g = logits[0].copy(), truth[0]
    z[:, 2:5, 3:7] = np.nan
    frames = binary_frames(sigmoid(z), g)
    z_t, g_t = torch.from_numpy(z), torch.from_numpy(g.astype(np.float32))
    assert (frames.mean_iou(), frames.max_f()) == (published.binary_iou(z_t, g_t), published.binary_f(z_t, g_t))
    nothing = binary_frames(np.full((1, 3, 3), np.nan, np.float32), np.ones((1, 3, 3), bool))
    assert (nothing.iou[0], nothing.max_f()) == (0, 0)


def test_a_soft_truth_enters_the_formulas() -> None:
    logits, truth = random_videos(4)
    z, g = logits[0], truth[0] * np.float32(0.5)
    frames = binary_frames(sigmoid(z), g)
    z_t, g_t = torch.from_numpy(z), torch.from_numpy(g)
    assert frames.mean_iou() == pytest.approx(published.binary_iou(z_t, g_t), abs=1e-6)
    assert frames.max_f() == pytest.approx(published.binary_f(z_t, g_t), abs=1e-6)


def test_two_channels_take_the_argmax_and_their_own_sigmoid() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, (3, 2, 8, 8)).astype(np.float32) / 8
    truth = rng.random((3, 8, 8)) < 0.3
    frames = binary.two_channel_frames(scores, truth)
    mask = scores.argmax(axis=1).astype(bool)  # a tie is background
    assert mask.mean() < (scores[:, 1] >= scores[:, 0]).mean()
    np.testing.assert_array_equal(frames.iou, score_frames([count_mask(*x) for x in zip(mask, truth, strict=True)]).iou)
    probability = torch.sigmoid(torch.from_numpy(2 * scores[:, 1] - scores[:, 0]))
    wanted = published.binary_f(probability, torch.from_numpy(truth).float(), scores_are="probability")
    assert frames.max_f() == wanted


def test_frames_in_one_call_are_frames_one_by_one() -> None:
    logits, truth = random_videos(6)
    p, g = sigmoid(logits[0]), truth[0]
    whole = binary_frames(p, g)
    single = join([score_frames([count_frame(p[t], g[t])]) for t in range(len(g))])
    np.testing.assert_array_equal(whole.f_curve, single.f_curve)


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 4), bool), r"\(N, H, W\) alike, got \(2, 3, 3\) and"),
        (np.zeros((3, 3), np.float32), np.zeros((3, 3), bool), "alike"),
        (np.full((1, 2, 2), 3, np.float32), np.zeros((1, 2, 2), bool), r"\[0, 1\], got values from 3 to 3"),
        (np.zeros((1, 2, 2), np.float32), np.full((1, 2, 2), 255), "from 255 to 255; masks stored as 0 and 255"),
    ],
)
def test_what_does_not_fit_is_refused(probability: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        binary_frames(probability, truth)


@pytest.mark.heavy
def test_the_reached_threshold_is_exact_for_every_float_in_0_1() -> None:
    """All 1,065,353,217 of them: floats from 0 on are ordered as their bits."""
    first_bits, stop, step = THRESHOLDS.view(np.int32), 0x3F800001, 1 << 22
    for start in range(0, stop, step):
        bits = np.arange(start, min(start + step, stop), dtype=np.int32)
        wanted = np.zeros(len(bits), np.int16)
        for i in np.flatnonzero(first_bits <= bits[-1])[1:]:
            wanted[max(0, first_bits[i] - start) :] = i
        np.testing.assert_array_equal(highest_threshold(bits.view(np.float32)), wanted)
