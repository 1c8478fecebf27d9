"""Power in bands of a semitone: what tells a new tone from one that goes on, where mel bands hold both in one.

Long windows, so that neighbouring harmonics stand apart: when something begins is for :mod:`.log_mel` to say.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from ..structures import Sound
from .log_mel import band_powers, power_window, used_bank

NUM_SEMITONES = 66
LOWEST_HZ = 110.0
WINDOW_S = 0.128  # at least; the next length that the Fourier transform likes
FLOOR_DB = -120.0  # digital silence, and bands above half the sound's rate
BLOCK_FRAMES = 200


def centres_hz() -> np.ndarray:
    """``(NUM_SEMITONES,)``: of the bands."""
    return np.asarray(LOWEST_HZ * 2 ** (np.arange(NUM_SEMITONES) / 12))


def semitones(sound: Sound, *, start: int, stop: int, frames_per_s: int, gain_db: float = 0.0) -> np.ndarray:
    """``(stop - start, NUM_SEMITONES) float32`` dB of full scale, of frames as :func:`.log_mel.log_mel` counts its hops.

    Triangular bands a semitone to each side; any stretch is computed on its own, bit for bit as in the whole. The sound
    is heard ``gain_db`` louder than it is.

    Raises:
        CoPropError: samples that are not finite.
    """
    window, bank = _window_and_bank(sound.rate_hz)
    rows = [
        band_powers(sound, window, bank, range(first, min(first + BLOCK_FRAMES, stop)), hops_per_s=frames_per_s)
        for first in range(start, stop, BLOCK_FRAMES)
    ]
    powers = np.concatenate(rows) if rows else np.empty((0, NUM_SEMITONES), np.float32)
    lowest = np.float32(10 ** ((FLOOR_DB - gain_db) / 10))
    return np.asarray(10 * np.log10(np.maximum(powers, lowest)) + np.float32(gain_db))


@lru_cache(maxsize=8)
def _window_and_bank(rate_hz: int) -> tuple[np.ndarray, csr_array]:
    window = power_window(WINDOW_S, rate_hz)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(window), 1 / rate_hz), 1.0))
    triangles = np.maximum(0, 1 - np.abs(octaves - np.log2(centres_hz())[:, None]) * 12)
    return window, used_bank(triangles)
