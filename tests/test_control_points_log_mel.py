"""Log-mel features: any stretch equals the same stretch of the whole, and the numbers are what the words say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sounds

from coprop_plugin.audio import log_mel as module
from coprop_plugin.audio.log_mel import FLOOR_DB, HOP_S, NUM_MELS, log_mel, num_hops
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Sound

RATES_HZ = (8000, 11025, 22050, 44100, 48000)


def noise(rate_hz: int, duration_s: float = 3.3) -> Sound:
    samples = np.random.default_rng(rate_hz).standard_normal(round(duration_s * rate_hz))
    return Sound((0.1 * samples).astype(np.float32), rate_hz)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_stretch_equals_the_whole_bit_for_bit(rate_hz: int, tmp_path: Path) -> None:
    sound = noise(rate_hz)
    whole = log_mel(sound)
    assert whole.shape == (num_hops(sound), NUM_MELS) == (330, NUM_MELS) and whole.dtype == np.float32
    sound.samples.tofile(tmp_path / "sound.f32")
    mapped = Sound(np.memmap(tmp_path / "sound.f32", np.float32, "r"), rate_hz)
    for start, stop in ((0, 1), (5, 48), (317, 330)):
        assert np.array_equal(log_mel(mapped, start=start, stop=stop), whole[start:stop])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_hop_is_what_the_definition_says(rate_hz: int) -> None:
    sound, hop = noise(rate_hz), 123
    window, _ = module._window_and_bank(rate_hz)
    count = len(window)
    assert 0.025 <= count / rate_hz < 0.027
    centre = int((hop + 0.5) * HOP_S * rate_hz)
    piece = sound.samples[centre - count // 2 : centre - count // 2 + count].astype(float)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)
    frequency_hz = np.arange(count // 2 + 1) * rate_hz / count
    power = 2 * np.abs(np.fft.rfft(piece * hann)) ** 2 / (count * (hann**2).sum())
    points_hz = 700 * (
        10 ** (np.linspace(*(2595 * np.log10(1 + f / 700) for f in (60, min(8000, rate_hz / 2))), 42) / 2595) - 1
    )
    mel = 2595 * np.log10(1 + frequency_hz / 700)
    points = 2595 * np.log10(1 + points_hz / 700)
    for band in (0, 11, 39):
        left, middle, right = points[band : band + 3]
        weight = np.clip(np.minimum((mel - left) / (middle - left), (right - mel) / (right - middle)), 0, None)
        assert log_mel(sound, start=hop, stop=hop + 1)[0, band] == pytest.approx(
            10 * np.log10((weight * power).sum()), abs=1e-3
        )


def test_bands_sum_to_the_power_of_the_sound() -> None:
    times_s = np.arange(44100) / 44100
    sine = Sound(np.sin(2 * np.pi * 1000 * times_s).astype(np.float32), 44100)
    total = 10 * np.log10((10 ** (log_mel(sine)[10:90] / 10)).sum(axis=1))
    assert total == pytest.approx(10 * np.log10(0.5), abs=0.01)


def test_digital_silence_and_what_lies_beyond_the_sound_are_the_floor() -> None:
    sound = sounds.sound([("low", 1.0)])
    assert (log_mel(Sound.silence(0.5)) == FLOOR_DB).all()
    assert (log_mel(sound, start=110, stop=130) == FLOOR_DB).all()
    assert (log_mel(sound, start=-30, stop=-10) == FLOOR_DB).all()
    assert log_mel(sound, start=40, stop=40).shape == (0, NUM_MELS)


def test_an_empty_sound_is_one_silent_hop() -> None:
    assert (log_mel(Sound(np.empty(0, np.float32), 16000)) == FLOOR_DB).all()


def test_a_rate_without_bands_is_refused() -> None:
    with pytest.raises(CoPropError, match="at least 960 Hz, got 800 Hz"):
        log_mel(Sound(np.zeros(800, np.float32), 800))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(wrong: float) -> None:
    samples = np.zeros(16000, np.float32)
    samples[8000] = wrong
    with pytest.raises(CoPropError, match=r"NaN or infinite samples between 0\.00 and 1\.00 s"):
        log_mel(Sound(samples, 16000))
