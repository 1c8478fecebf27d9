"""Sounds made by formula, for tests of what listens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.structures import Clip, Sound

RATE_HZ = 16000
SOURCES = {"low": (220.0, 8), "high": (900.0, 3)}  # pitch and number of partials


def source(name: str, duration_s: float, *, seed: int = 0) -> np.ndarray:
    """``(N,)`` of RMS 0.1: ``low`` and ``high`` are harmonic and tremble, ``noise`` is white, ``none`` is nothing."""
    count = round(duration_s * RATE_HZ)
    times_s = np.arange(count) / RATE_HZ
    if name == "none":
        return np.zeros(count)
    if name == "noise":
        return 0.1 * np.random.default_rng(seed).standard_normal(count)
    pitch_hz, partials = SOURCES[name]
    wave = sum(np.sin(2 * np.pi * k * pitch_hz * times_s) / k for k in range(1, partials + 1))
    wave = wave * (1 + 0.3 * np.sin(2 * np.pi * 5 * times_s))
    return 0.1 * wave / np.sqrt((wave**2).mean())


def sound(pieces: Sequence[tuple[str, float]], *, bed_db: float | None = None, rate_hz: int = RATE_HZ) -> Sound:
    """One source after the other, ``(name, seconds)`` each (``low+noise`` together), over a bed of noise if wanted."""
    parts = [
        sum(source(name, length_s, seed=i) for name in names.split("+")) for i, (names, length_s) in enumerate(pieces)
    ]
    samples = np.concatenate(parts)
    if bed_db is not None:
        samples = samples + 10 ** (bed_db / 20) * np.random.default_rng(99).standard_normal(len(samples))
    return Sound(samples.astype(np.float32), rate_hz)


def clip(pieces: Sequence[tuple[str, float]], *, sampling: str = "avsbench", bed_db: float | None = None) -> Clip:
    return clip_of_sound(sound(pieces, bed_db=bed_db), sampling=sampling, clip_id="made")
