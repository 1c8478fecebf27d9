"""Log-mel features of a sound at its native rate, computed for any stretch on its own.

Hop ``i`` is the sound around ``(i + 1/2) * HOP_S`` seconds, so the hops of ``[a, b)`` seconds are ``a / HOP_S`` to
``b / HOP_S``. A hop's row does not depend on which others are asked for: a stretch of a memory-mapped hour equals the
same stretch of the whole, bit for bit. (A dense matrix product would not give that: its rounding depends on the
number of rows, hence the sparse filter bank.)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import next_fast_len, rfft
from scipy.sparse import csr_array

from ..errors import CoPropError
from ..structures import Sound

HOPS_PER_S = 100
HOP_S = 1 / HOPS_PER_S
WINDOW_S = 0.025  # at least; the next length that the Fourier transform likes
NUM_MELS = 40
LOW_HZ, HIGH_HZ = 60.0, 8000.0  # a sound of less than 16 kHz ends at half its rate
FLOOR_DB = -100.0  # digital silence
BLOCK_HOPS = 1000  # hops computed at once: 10 s, a few MB


def num_hops(sound: Sound) -> int:
    """How many hops a sound has: one per begun 10 ms, at least one."""
    return max(1, -(-len(sound.samples) * HOPS_PER_S // sound.rate_hz))


def log_mel(sound: Sound, *, start: int = 0, stop: int | None = None, gain_db: float = 0.0) -> np.ndarray:
    """``(stop - start, NUM_MELS) float32`` of the hops ``[start, stop)``, in dB; zeros are taken beyond the sound.

    Hann window, power spectrum, triangular bands (peak 1) evenly spaced in ``2595 log10(1 + f / 700)``. 0 dB is the
    power of a full-scale square wave, were it all in one band; digital silence is ``FLOOR_DB``. The sound is heard
    ``gain_db`` louder than it is.

    Raises:
        CoPropError: the sound's rate is too low to have bands at all, or its samples are not finite.
    """
    stop = num_hops(sound) if stop is None else stop
    firsts = range(start, stop, BLOCK_HOPS)
    rows = [_rows(sound, first, min(first + BLOCK_HOPS, stop), gain_db) for first in firsts]
    return np.concatenate(rows) if rows else np.empty((0, NUM_MELS), np.float32)


def _rows(sound: Sound, start: int, stop: int, gain_db: float) -> np.ndarray:
    window, bank = _window_and_bank(sound.rate_hz)
    bands = band_powers(sound, window, bank, range(start, stop), hops_per_s=HOPS_PER_S)
    decibels = 10 * np.log10(np.maximum(bands, np.finfo(np.float32).tiny)) + np.float32(gain_db)
    return np.maximum(decibels, np.float32(FLOOR_DB))


def band_powers(sound: Sound, window: np.ndarray, bank: csr_array, hops: range, *, hops_per_s: int) -> np.ndarray:
    """``(len(hops), B) float32``: the power in the bands of a bank (of the first lines of a spectrum) around each hop's middle; zeros beyond the sound.

    Raises:
        CoPropError: samples that are not finite.
    """
    # Whole numbers: 22050 Hz has 220.5 samples a hop, and a rounded hop would drift over an hour.
    centres = (2 * np.arange(hops.start, hops.stop, dtype=np.int64) + 1) * sound.rate_hz // (2 * hops_per_s)
    firsts = centres - len(window) // 2
    begin, end = int(firsts[0]), int(firsts[-1]) + len(window)
    piece = np.asarray(sound.samples[max(0, begin) : max(0, end)], np.float32)
    before = min(max(0, -begin), end - begin)
    piece = np.pad(piece, (before, end - begin - before - len(piece)))
    framed = np.lib.stride_tricks.sliding_window_view(piece, len(window))[firsts - begin]
    spectrum = rfft(framed * window)[:, : bank.shape[1]]
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.ascontiguousarray((bank @ power.T).T)
    if not np.isfinite(bands).all():
        raise CoPropError(
            f"the sound holds NaN or infinite samples between {hops.start / hops_per_s:.2f} and "
            f"{hops.stop / hops_per_s:.2f} s."
        )
    return bands


@lru_cache(maxsize=8)
def _window_and_bank(rate_hz: int) -> tuple[np.ndarray, csr_array]:
    """``(n,) float32`` Hann window whose squares sum to the scale of a power, and ``(NUM_MELS, n // 2 + 1)`` bands."""
    high_hz = min(HIGH_HZ, rate_hz / 2)
    if high_hz < 8 * LOW_HZ:
        raise CoPropError(f"log-mel features need sound of at least {16 * LOW_HZ:.0f} Hz, got {rate_hz} Hz.")
    window = power_window(WINDOW_S, rate_hz)
    length = len(window)
    points_mel = np.linspace(_mel(LOW_HZ), _mel(high_hz), NUM_MELS + 2)
    bins = (_mel(np.fft.rfftfreq(length, 1 / rate_hz)) - points_mel[0]) / (points_mel[1] - points_mel[0])
    triangles = np.maximum(0, 1 - np.abs(bins - np.arange(1, NUM_MELS + 1)[:, None]))
    return window, used_bank(triangles)


def centres_hz(high_hz: float = HIGH_HZ) -> np.ndarray:
    """``(NUM_MELS,)``: of the bands."""
    points_mel = np.linspace(_mel(LOW_HZ), _mel(high_hz), NUM_MELS + 2)
    return np.asarray(700 * (10 ** (points_mel[1:-1] / 2595) - 1))


def power_window(window_s: float, rate_hz: int) -> np.ndarray:
    """``(n,) float32`` Hann window of at least so long, whose squares sum to the scale of a power."""
    length = next_fast_len(int(np.ceil(window_s * rate_hz)), real=True)
    window = np.hanning(length + 1)[:-1]
    window *= np.sqrt(2 / (length * (window**2).sum()))  # one-sided: each bin stands for its mirror image as well
    return window.astype(np.float32)


def used_bank(bands: np.ndarray) -> csr_array:
    """``(B, n) float32``: bands over the lines of a spectrum, as far as the last line that is in any."""
    used = np.flatnonzero(bands.any(axis=0))
    return csr_array(bands[:, : used[-1] + 1 if len(used) else 1].astype(np.float32))


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return 2595 * np.log10(1 + np.asarray(frequency_hz) / 700)
