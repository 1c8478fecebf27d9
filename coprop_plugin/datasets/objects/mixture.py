"""The sound of clips of real things: recordings in a row with pauses, a room, noise; and when each of them is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...structures.intervals import BRIDGED_S, bridged
from .recordings import RATE_HZ, read_recording

PAUSE_S = (0.05, 0.85)  # between two recordings of one source; below BRIDGED_S, so that it goes on sounding
RINGS_OUT_S = 0.5  # how far a recording may go on after its source's turn, so as not to be cut
USUAL_SPEEDS = (0.93, 1.07)  # of a source, over how it was recorded
WIDE_SPEEDS = (0.7, 1.4)
_COLOUR_POINTS = 7  # of a source's colour, an octave or so apart
LEAST_LEFT_S = 0.25  # with less of its turn left a source begins no further recording
assert PAUSE_S[1] < BRIDGED_S


@dataclass(frozen=True)
class Placed:
    """A recording, or a part of it, in a clip.

    Attributes:
        path: of the recording.
        from_s, length_s: which part of it.
        at_s: when the part begins in the clip.
        speed: how much faster (and higher) it is played.
        fade_s: over which its end is faded out; 0 where it ends by itself.
    """

    path: Path
    from_s: float
    length_s: float
    at_s: float
    speed: float
    fade_s: float


@dataclass(frozen=True)
class Room:
    """What all sources of a clip share.

    Attributes:
        reverberation_s: until it has fallen by 60 dB; 0 is none.
        wet_db: level of the reverberation beside the direct sound.
        level_db: RMS of a source of level 0, relative to full scale.
        noise_db: RMS of the pink noise, relative to full scale; ``None`` is no noise.
        seed: of the room's echoes and the noise.
    """

    reverberation_s: float
    wet_db: float
    level_db: float
    noise_db: float | None
    seed: int


def draw_room(rng: np.random.Generator) -> Room:
    """Two thirds of the clips reverberate; 85 % have noise, 15 to 40 dB below the sources."""
    level_db = float(rng.uniform(-34, -17))
    wet = rng.random() < 0.67
    noise_db = level_db - float(rng.uniform(15, 40)) if rng.random() < 0.85 else None
    reverberation_s, wet_db = float(rng.uniform(0.15, 0.7)), float(rng.uniform(-18, -5))
    return Room(reverberation_s if wet else 0.0, wet_db, level_db, noise_db, int(rng.integers(1 << 32)))


def place(
    rng: np.random.Generator,
    sounds: Sequence[Path],
    turns_s: Sequence[tuple[float, float]],
    end_s: float,
    *,
    speeds: tuple[float, float] = USUAL_SPEEDS,
) -> list[Placed]:
    """Recordings that fill a source's turns ``[start_s, stop_s)``, one after the other with pauses; its speed is its own."""
    speed = float(rng.uniform(*speeds))
    placed: list[Placed] = []
    for start_s, stop_s in turns_s:
        at_s = start_s
        while stop_s - at_s >= LEAST_LEFT_S or at_s == start_s:
            path = sounds[int(rng.integers(len(sounds)))]
            recording = read_recording(path)
            # A long recording may begin at any of its own onsets; the first sounds at once (it is trimmed).
            onsets = recording.active_s[recording.active_s[:, 0] < max(0.01, recording.duration_s - 1.5), 0]
            from_s = float(onsets[int(rng.integers(len(onsets)))]) if len(onsets) else 0.0
            length_s = (recording.duration_s - from_s) / speed
            pause_s, fade_s = float(rng.uniform(*PAUSE_S)), float(rng.uniform(0.02, 0.15))
            rings = at_s + length_s <= min(stop_s + RINGS_OUT_S, end_s)
            if not rings:
                length_s = min(stop_s, end_s) - at_s
            placed.append(Placed(path, from_s, length_s, at_s, speed, 0.0 if rings else min(fade_s, length_s / 2)))
            at_s += length_s + pause_s
    return placed


def heard_s(placed: Sequence[Placed]) -> np.ndarray:
    """``(n, 2)`` seconds in which a source is heard, by its recordings' own activity; shorter pauses are closed."""
    pieces = []
    for item in placed:
        recording = read_recording(item.path)
        active = np.clip((recording.active_s - item.from_s) / item.speed, 0, item.length_s) + item.at_s
        pieces += [(a, b) for a, b in active.tolist() if b - a > 1e-6]
    return bridged(pieces)


def draw_colour(rng: np.random.Generator) -> np.ndarray:
    """``(_COLOUR_POINTS,)`` dB, as another microphone, distance or individual has."""
    walk = np.cumsum(rng.normal(0, 1, _COLOUR_POINTS))
    return (walk - walk.mean()) * rng.uniform(0, 4)


def render(
    sources: Sequence[tuple[Sequence[Placed], float]],
    room: Room,
    duration_s: float,
    *,
    colours: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """``(N,) float32`` at RATE_HZ of sources (their recordings and their level in dB), in a room, with noise.

    The peak is kept below full scale by turning all of it down. Where there are ``colours`` (:func:`draw_colour`), each
    source goes through its own.
    """
    samples = np.zeros(round(duration_s * RATE_HZ), np.float32)
    for i, (placed, level_db) in enumerate(sources):
        heard = np.zeros_like(samples) if colours else samples
        _play(heard, placed, room.level_db + level_db)
        if colours:
            samples += _coloured(heard, colours[i])
    rng = np.random.default_rng(room.seed)
    if room.reverberation_s:
        samples += _echoes(rng, samples, room)
    if room.noise_db is not None:
        samples += pink_noise(rng, len(samples)) * np.float32(10 ** (room.noise_db / 20))
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(0.98 / peak) if peak > 0.98 else samples


def render_apart(
    sources: Sequence[tuple[Sequence[Placed], float]],
    room: Room,
    duration_s: float,
    *,
    colours: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """``(len(sources) + 1, N) float32``: each source by itself in the room, and the noise.

    Their sum is what :func:`render` gives of the same, up to rounding, before it is turned down.
    """
    apart = np.zeros((len(sources) + 1, round(duration_s * RATE_HZ)), np.float32)
    rng = np.random.default_rng(room.seed)
    for i, (placed, level_db) in enumerate(sources):
        _play(apart[i], placed, room.level_db + level_db)
        if colours:
            apart[i] = _coloured(apart[i], colours[i])
        if room.reverberation_s:
            rng = np.random.default_rng(room.seed)
            apart[i] += _echoes(rng, apart[i], room)
    if room.noise_db is not None:
        apart[-1] = pink_noise(rng, apart.shape[1]) * np.float32(10 ** (room.noise_db / 20))
    return apart


def _play(samples: np.ndarray, placed: Sequence[Placed], level_db: float) -> None:
    """Add a source's recordings to samples."""
    for item in placed:
        start = round(item.at_s * RATE_HZ)
        piece = _piece(item)[: len(samples) - start]
        samples[start : start + len(piece)] += piece * np.float32(10 ** (level_db / 20))


def _piece(item: Placed) -> np.ndarray:
    """The samples of a placed recording, of RMS about 1 while it sounds."""
    recording = read_recording(item.path)
    count = max(1, int(item.length_s * RATE_HZ))
    place = item.from_s * RATE_HZ + item.speed * np.arange(count)
    index = np.minimum(place.astype(np.int64), len(recording.samples) - 2)
    part = np.clip(place - index, 0, 1).astype(np.float32)
    piece = recording.samples[index] * (1 - part) + recording.samples[index + 1] * part
    rise = min(count, RATE_HZ // 500)  # a cut into the middle of a wave must not click
    piece[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    fall = min(count, max(rise, int(item.fade_s * RATE_HZ)))
    piece[count - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return piece


def _coloured(samples: np.ndarray, colour_db: np.ndarray) -> np.ndarray:
    """A source through a filter whose points lie evenly over the logarithm of frequency; about as loud as before."""
    from scipy.fft import irfft, next_fast_len, rfft

    length = next_fast_len(len(samples), real=True)
    spectrum = rfft(samples, length)
    place_hz = np.geomspace(100, RATE_HZ / 2, len(colour_db))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / RATE_HZ), 50))
    gain = 10 ** (np.interp(octaves, np.log2(place_hz), colour_db) / 20)
    before, after = (np.square(np.abs(s), dtype=np.float64).sum() for s in (spectrum, spectrum * gain))
    filtered = irfft(spectrum * gain.astype(np.float32), length)[: len(samples)]
    return (filtered * np.sqrt(before / max(after, 1e-30))).astype(np.float32)


def _echoes(rng: np.random.Generator, samples: np.ndarray, room: Room) -> np.ndarray:
    """The sound through a room's tail: noise that decays exponentially, duller with time, 5 ms after the direct sound."""
    from scipy.signal import oaconvolve

    count = int(min(room.reverberation_s, 0.6) * RATE_HZ)
    tail = rng.standard_normal(count).astype(np.float32)
    tail *= np.exp(-6.91 / (room.reverberation_s * RATE_HZ) * np.arange(count)).astype(np.float32)
    dull = np.concatenate([[0.0], np.cumsum(tail)])
    width = 4
    tail[width:] = tail[width:] * 0.5 + 0.5 * ((dull[width + 1 :] - dull[1:-width]) / width).astype(np.float32)
    tail *= np.float32(10 ** (room.wet_db / 20) / np.sqrt(np.sum(np.square(tail, dtype=np.float64))))
    delay = RATE_HZ // 200
    wet = oaconvolve(samples, tail)[: len(samples) - delay]
    return np.concatenate([np.zeros(delay, np.float32), wet.astype(np.float32)])


def pink_noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """``(count,) float32`` noise that falls by 3 dB an octave above 30 Hz, RMS 1."""
    white = np.fft.rfft(rng.standard_normal(count).astype(np.float32))
    noise = np.fft.irfft(white * _pink(count), count)
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


@lru_cache(maxsize=4)
def _pink(count: int) -> np.ndarray:
    return np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 30) ** -0.5
