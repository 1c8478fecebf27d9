"""VGGish on the sound of frames: numbers that stay, windows that do not mind their neighbours, files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import rule_network, rule_state

from coprop_plugin.audio.resample import resample
from coprop_plugin.audio.vggish import (
    EXAMPLE_SAMPLES,
    RATE_HZ,
    VGGish,
    log_mel_examples,
    mel_weights,
    quantise,
    window_examples,
)
from coprop_plugin.errors import CheckpointError
from coprop_plugin.structures import Sound, TimeBase

# Taken when resampling, log-mel and network matched the published code.
GOLDEN_LOG_MEL = [
    1.793,
    -4.2035,
    -4.5856,
    -4.6023,
    -4.2039,
    2.5031,
    -4.5273,
    -4.5998,
    -4.5288,
    -3.7086,
    -4.2443,
    -4.5941,
    -4.5857,
    -4.4786,
    -1.5654,
    -4.5833,
]
GOLDEN_EMBEDDING = [0.1597, 0.0, 0.0, 0.2348, 0.0, 0.3047, 0.4509, 0.0]


def chirp(duration_s: float, rate_hz: int) -> np.ndarray:
    time_s = np.arange(int(duration_s * rate_hz)) / rate_hz
    return 0.5 * np.sin(2 * np.pi * (200 + 900 * time_s) * time_s)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_resampling_keeps_a_chirp(rate_hz: int) -> None:
    resampled = resample(chirp(2, rate_hz), rate_hz, RATE_HZ)
    assert len(resampled) == 2 * RATE_HZ
    np.testing.assert_allclose(resampled[800:16000], chirp(2, RATE_HZ)[800:16000], atol=2e-3)


def test_resampling_equals_its_sum_written_out() -> None:
    """One output at a time, both wings of the filter, as the published code goes."""
    from coprop_plugin.audio.resample import TABLE_STEPS, _table

    rate_hz, samples = 48000, np.random.default_rng(0).standard_normal(3000)
    scale = RATE_HZ / rate_hz
    table, step = _table() * scale, int(scale * TABLE_STEPS)
    slope = np.append(np.diff(table), 0)
    expected = []
    for t in range(1000):
        place = t / scale
        before, total = int(place), 0.0
        for fraction, indices in (
            (scale * (place - before), range(before, -1, -1)),
            (scale - scale * (place - before), range(before + 1, len(samples))),
        ):
            offset = int(fraction * TABLE_STEPS)
            rest = fraction * TABLE_STEPS - offset
            for count, index in zip(range((len(table) - offset) // step), indices, strict=False):
                tap = offset + count * step
                total += (table[tap] + rest * slope[tap]) * samples[index]
        expected.append(total)
    np.testing.assert_allclose(resample(samples, rate_hz, RATE_HZ), expected, atol=1e-8)


def test_golden_log_mel_and_embedding() -> None:
    """Numbers taken when resampling, log-mel and network matched the published code."""
    examples = log_mel_examples(resample(chirp(1.2, 44100), 44100, RATE_HZ))
    assert examples.shape == (1, 1, 96, 64) and examples.dtype == np.float32
    np.testing.assert_allclose(examples[0, 0, ::31, ::17].ravel(), GOLDEN_LOG_MEL, atol=2e-4)
    with torch.inference_mode():
        embedding = rule_network(VGGish)(torch.from_numpy(examples)).numpy()
    np.testing.assert_allclose(embedding[0, ::16], GOLDEN_EMBEDDING, rtol=1e-3, atol=1e-4)


def test_silence_and_short_sound() -> None:
    assert np.allclose(log_mel_examples(np.zeros(EXAMPLE_SAMPLES)), np.log(0.01))
    assert log_mel_examples(np.zeros(EXAMPLE_SAMPLES - 1)).shape == (0, 1, 96, 64)
    assert not mel_weights()[0].any()


def test_each_frame_hears_its_own_window() -> None:
    """A tone in second 3 of 6 is heard by frame 3 alone, and batches do not matter."""
    samples = np.zeros(6 * 44100, np.float32)
    samples[3 * 44100 : 4 * 44100] = chirp(1, 44100)
    sound, windows_s = Sound(samples, 44100), TimeBase.of("avsbench", 6).sound_window_s
    examples = window_examples(sound, windows_s)
    assert examples.shape == (6, 1, 96, 64)
    loud = examples.max(axis=(1, 2, 3)) > -4
    assert loud.tolist() == [False, False, False, True, False, False]
    for t in range(6):
        np.testing.assert_allclose(window_examples(sound, windows_s[t : t + 1])[0], examples[t], atol=1e-5)


def test_windows_at_a_video_s_rate_overlap() -> None:
    sound = Sound(chirp(2, 16000).astype(np.float32), 16000)
    examples = window_examples(sound, TimeBase.of("uniform:25", 50).sound_window_s)
    assert examples.shape == (50, 1, 96, 64)
    np.testing.assert_allclose(examples[20, 0, 4:], examples[21, 0, :-4], atol=1e-5)


def test_codes_are_clipped_and_rounded() -> None:
    codes = quantise(np.array([[-9.0, -2, 0, 2, 9] + [0] * 123]), np.eye(128), np.zeros(128))
    assert codes[0, :5].tolist() == [0, 0, 128, 255, 255] and codes.dtype == np.uint8


def test_loading(tmp_path: Path) -> None:
    state = rule_state(VGGish)
    torch.save(state, tmp_path / "vggish.pth")
    sound = Sound(chirp(3, 16000).astype(np.float32), 16000)
    embedding = VGGish.load(tmp_path / "vggish.pth").embed_windows(sound, TimeBase.of("avsbench", 3).sound_window_s)
    assert embedding.shape == (3, 128) and embedding.dtype == np.float32 and (embedding >= 0).all()
    torch.save({name: value for name, value in state.items() if name.startswith("features.")}, tmp_path / "vggish.pth")
    with pytest.raises(CheckpointError, match=r"does not fit VGGish: 6 missing \(embeddings.0.weight, "):
        VGGish.load(tmp_path / "vggish.pth")
