"""Bands of a semitone: a tone is in its own, any stretch equals the whole, rates do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from coprop_plugin.audio.semitones import FLOOR_DB, NUM_SEMITONES, centres_hz, semitones
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Sound


def tone(frequency_hz: float, rate_hz: int) -> Sound:
    times_s = np.arange(2 * rate_hz) / rate_hz
    return Sound((0.5 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32), rate_hz)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("band", [12, 24, 40, 55])
def test_a_tone_is_in_its_band(rate_hz: int, band: int) -> None:
    heard = semitones(tone(centres_hz()[band], rate_hz), start=5, stop=35, frames_per_s=20)
    assert heard.shape == (30, NUM_SEMITONES) and (heard.argmax(axis=1) == band).all()
    far = np.abs(np.arange(NUM_SEMITONES) - band) > 4
    assert (heard[:, far].max(axis=1) < heard.max(axis=1) - 25).all()


@pytest.mark.parametrize("rate_hz", [11025, 44100])
def test_any_stretch_equals_the_whole(rate_hz: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 12 * rate_hz).astype(np.float32)
    whole = semitones(Sound(samples, rate_hz), start=0, stop=240, frames_per_s=20)
    for start, stop in ((0, 7), (33, 34), (100, 240)):
        part = semitones(Sound(samples, rate_hz), start=start, stop=stop, frames_per_s=20)
        assert np.array_equal(part, whole[start:stop])


def test_nothing_and_what_is_no_number() -> None:
    nothing = semitones(Sound(np.zeros(8000, np.float32), 8000), start=-2, stop=30, frames_per_s=20)
    assert (nothing == np.float32(FLOOR_DB)).all()
    assert (semitones(tone(440, 8000), start=0, stop=40, frames_per_s=20)[:, centres_hz() > 4300] == FLOOR_DB).all()
    with pytest.raises(CoPropError, match="NaN or infinite"):
        semitones(Sound(np.full(8000, np.nan, np.float32), 8000), start=0, stop=4, frames_per_s=20)
