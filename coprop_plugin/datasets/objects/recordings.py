"""Recordings of a library: mono at one rate, and when in them something sounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd
from pathlib import Path

import numpy as np

from ...errors import CoPropError
from ...media.sound import read_sound

RATE_HZ = 16000
LEAST_RECORDING_S, MAX_RECORDING_S = 0.07, 60.0
LEAST_PEAK = 1e-3  # -60 dBFS: a recording below is silence
_HOP = RATE_HZ // 100
_WINDOW_HOPS = 4
_ON_DB, _OFF_DB = -22.0, -32.0  # below the loudest 40 ms of the recording
_CACHED = 512  # about 2 s each: 64 MB


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        samples: ``(N,) float32`` at RATE_HZ, read-only, its sounding parts of RMS 1.
        active_s: ``(n, 2)`` the stretches ``[start_s, stop_s)`` that sound, at least one.
    """

    samples: np.ndarray
    active_s: np.ndarray

    @cached_property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ


def prepared(samples: np.ndarray, rate_hz: int, *, name: str) -> Recording:
    """A recording at RATE_HZ without the silence at its ends.

    Raises:
        CoPropError: silent, or shorter than LEAST_RECORDING_S or longer than MAX_RECORDING_S.
    """
    if not LEAST_RECORDING_S * rate_hz <= len(samples) <= MAX_RECORDING_S * rate_hz:
        raise CoPropError(
            f"{name}: lasts {len(samples) / rate_hz:.2f} s; recordings have {LEAST_RECORDING_S:g} to {MAX_RECORDING_S:g} s."
        )
    samples = at_rate(samples, rate_hz)
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    if np.abs(samples).max(initial=0) < LEAST_PEAK:
        raise CoPropError(f"{name}: is silent (its peak is below {LEAST_PEAK:g}).")
    active_s = active_stretches(samples)
    margin_s = 0.02
    start_s = max(0.0, active_s[0, 0] - margin_s)
    samples = samples[int(start_s * RATE_HZ) : int((active_s[-1, 1] + margin_s) * RATE_HZ)]
    active_s = np.minimum(active_s - start_s, len(samples) / RATE_HZ)
    sounding = np.concatenate([samples[int(a * RATE_HZ) : int(b * RATE_HZ)] for a, b in active_s])
    samples = (samples / np.sqrt(np.mean(np.square(sounding, dtype=np.float64)))).astype(np.float32)
    samples.flags.writeable = active_s.flags.writeable = False
    return Recording(samples, active_s)


@lru_cache(maxsize=_CACHED)
def read_recording(path: Path) -> Recording:
    """A sound file, prepared; the last few hundred are kept.

    Raises:
        MediaError: no sound file.
        CoPropError: as :func:`prepared`.
    """
    sound = read_sound(path)
    return prepared(np.asarray(sound.samples), sound.rate_hz, name=str(path))


def at_rate(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """``(N,) float32`` at RATE_HZ."""
    if rate_hz == RATE_HZ:
        return np.asarray(samples, np.float32)
    from scipy.signal import resample_poly

    common = gcd(rate_hz, RATE_HZ)
    return resample_poly(samples, RATE_HZ // common, rate_hz // common).astype(np.float32)


def active_stretches(samples: np.ndarray) -> np.ndarray:
    """``(n, 2)`` seconds in which a recording sounds: its level over 40 ms, every 10 ms, with hysteresis.

    It begins where the level rises above 22 dB below the recording's loudest 40 ms, and ends where it falls more than
    32 dB below. Pauses inside are left: what makes one source of them is
    :data:`~coprop_plugin.structures.intervals.BRIDGED_S`.
    """
    power = np.square(samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP), dtype=np.float64).mean(axis=1)
    power = np.convolve(power, np.full(_WINDOW_HOPS, 1 / _WINDOW_HOPS), mode="same")
    level_db = 10 * np.log10(np.maximum(power / power.max(), 1e-12))
    held, low = level_db > _ON_DB, level_db > _OFF_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))
    stretches = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if held[a:b].any()]
    # Hysteresis: a stretch above the lower threshold counts from where it first passes the upper one.
    starts = [a + int(np.argmax(held[a:b])) for a, b in stretches]
    return np.array([(a, b) for a, (_, b) in zip(starts, stretches, strict=True)], float) * (_HOP / RATE_HZ)
