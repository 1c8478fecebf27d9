"""What is varied of sounds that the learned control points train on: which sources sound together, how, recorded by what.

All of it on levels in bands: powers of sources add up, so that every step has mixtures that were never heard before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..audio import semitones
from ..audio.log_mel import NUM_MELS, centres_hz
from ..control_points.boundary_net import LOWEST_DB, NUM_BANDS, within_reach

REMIXED_SHARE = 0.3  # of the clips: sources of several clips together
MOST_SOURCES = 4  # bits of one clip's states; a spliced clip's come above them
_NUM_REMIXED = (0.1, 0.4, 0.35, 0.15)  # chances of 1, 2, … sources
_ROLLED_SHARE = 0.5  # of the remixed sources: they begin elsewhere
_RETUNED_SHARE = 0.6
SPLICED_SHARE = 0.35
_COLOUR_POINTS = 9
_TINY = 1e-12


@dataclass(frozen=True)
class Tracks:
    """A sound in tracks that add up to it; the last one is noise, in which no source is.

    Attributes:
        decibels: ``(K, T, NUM_BANDS)`` dB of full scale.
        states: ``(K, T) uint8``, of each track which of the clip's sources are heard in it: a bit for each.
    """

    decibels: np.ndarray
    states: np.ndarray

    @property
    def single(self) -> list[int]:
        """The tracks that hold one source and no other."""
        return [
            k
            for k, told in enumerate(self.states)
            if told.any() and bin(int(np.bitwise_or.reduce(told))).count("1") == 1
        ]


def mixture(tracks: Tracks, another: Callable[[], Tracks], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``(T, NUM_BANDS) float32`` dB above the loudest moment and ``(T,) uint8`` states: the clip, or a remix with others.

    Args:
        tracks: of the clip.
        another: gives another clip's.
        rng: for all that is drawn.
    """
    if rng.random() < REMIXED_SHARE:
        tracks = _remixed(tracks, another, rng)
    levels = np.stack([_varied(track, rng) for track in tracks.decibels.astype(np.float32)])
    heard = 10 * np.log10((10 ** (levels / 10)).sum(axis=0) + _TINY)
    return within_reach(heard - np.float32(loudest_db(heard))), np.bitwise_or.reduce(tracks.states, axis=0)


def loudest_db(levels: np.ndarray) -> float:
    """Of ``(T, NUM_BANDS)`` levels, as a recording's loudest moment is taken (:mod:`~coprop_plugin.audio.level`)."""
    powers = (10 ** (levels[:, :NUM_MELS] / 10)).sum(axis=1)  # of 0.05 s: two are a cell there
    cells = powers[: len(powers) // 2 * 2].reshape(-1, 2).mean(axis=1)
    return float(10 * np.log10(np.sort(cells)[-2:].mean() + _TINY))


def _remixed(tracks: Tracks, another: Callable[[], Tracks], rng: np.random.Generator) -> Tracks:
    """One to four sources, each of another clip, in this one's noise."""
    count = 1 + int(rng.choice(len(_NUM_REMIXED), p=_NUM_REMIXED))
    levels, states = [], []
    for i in range(count):
        clip = tracks if i == 0 else another()
        if not clip.single:
            continue
        chosen = clip.single[int(rng.integers(len(clip.single)))]
        on = clip.states[chosen] > 0
        source = clip.decibels[chosen].astype(np.float32)
        moved = int(rng.integers(len(on))) if rng.random() < _ROLLED_SHARE else 0
        levels.append(np.roll(source - _mean_db(source[on]) + rng.uniform(-6, 6), moved, axis=0))
        states.append(np.roll(on, moved).astype(np.uint8) << i)
    if not levels:
        return tracks
    noise = tracks.decibels[-1].astype(np.float32)
    levels.append(noise - _mean_db(noise) - rng.uniform(15, 45))
    return Tracks(np.stack(levels), np.stack([*states, np.zeros_like(states[0])]))


def _mean_db(levels: np.ndarray) -> float:
    return float(10 * np.log10((10 ** (levels[:, :NUM_MELS] / 10)).sum(axis=1).mean() + _TINY))


def _varied(levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A source at another pitch, of another size, in another colour; ``(T, NUM_BANDS)`` dB."""
    if rng.random() < _RETUNED_SHARE:
        pitch, stretch = 2 ** rng.uniform(-0.35, 0.35), rng.uniform(0.94, 1.06)
        mel_hz, tone_hz = centres_hz(), semitones.centres_hz()
        from_mel = np.interp(mel_hz**stretch * 1000 ** (1 - stretch) * pitch, mel_hz, np.arange(NUM_MELS))
        from_tone = np.interp(tone_hz * pitch, tone_hz, np.arange(len(tone_hz)))
        low = np.append(np.minimum(from_mel, NUM_MELS - 2), NUM_MELS + np.minimum(from_tone, len(tone_hz) - 2)).astype(
            int
        )
        part = (np.append(from_mel, NUM_MELS + from_tone) - low).astype(np.float32)
        levels = levels[:, low] * (1 - part) + levels[:, low + 1] * part
    return np.asarray(levels + _colour(rng, most=1.2))


def _colour(rng: np.random.Generator, *, most: float) -> np.ndarray:
    """``(NUM_BANDS,)`` dB that wander over the octaves."""
    walk = np.cumsum(rng.normal(0, 1, _COLOUR_POINTS)) * rng.uniform(0, most) * 2.2
    points = np.linspace(np.log2(60), np.log2(8000), _COLOUR_POINTS)
    return np.interp(np.log2(bands_hz()), points, (walk - walk.mean()).clip(-15, 15)).astype(np.float32)


@lru_cache(maxsize=1)
def bands_hz() -> np.ndarray:
    """``(NUM_BANDS,)``: the middles of the bands."""
    return np.append(centres_hz(), semitones.centres_hz())


def spliced(heard: np.ndarray, states: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Some clips go over into another one at a moment of their own; what sounds there are other sources."""
    joined, joined_states = heard.copy(), states.copy()
    for i, other in enumerate(rng.permutation(len(heard))):
        if (
            rng.random() < SPLICED_SHARE
            and other != i
            and max(states[i].max(), states[other].max()) < 1 << MOST_SOURCES
        ):
            cut = int(rng.integers(heard.shape[1] // 6, heard.shape[1] * 5 // 6))
            joined[i, cut:] = heard[other, cut:]
            joined_states[i, cut:] = states[other, cut:] << MOST_SOURCES
    return joined, joined_states


def recorded(heard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other rooms and recorders: level, colour, a narrow band, bands that are missing, a bed of noise; ``(B, T, F)`` dB."""
    batch, length, _ = heard.shape
    place_hz = bands_hz()
    heard = heard + rng.uniform(-4, 2, (batch, 1, 1)).astype(np.float32)
    for clip in heard:
        clip += _colour(rng, most=1.0)
        if rng.random() < 0.12:
            clip[:, place_hz > rng.uniform(2500, 7000)] -= 45
        if rng.random() < 0.4:
            from_hz = 2 ** rng.uniform(np.log2(80), np.log2(7000))
            clip[:, (place_hz > from_hz) & (place_hz < from_hz * 2 ** rng.uniform(0.1, 0.7))] = -LOWEST_DB
    noisy = rng.random((batch, 1, 1)) < 0.5
    form = np.stack([_colour(rng, most=3.0) for _ in range(batch)])[:, None]
    for kind in (slice(NUM_MELS), slice(NUM_MELS, None)):
        form[..., kind] -= form[..., kind].max(axis=-1, keepdims=True)
    form = form + rng.uniform(-65, -22, (batch, 1, 1))
    noise = 10 ** (form / 10) * rng.gamma(8, 1 / 8, (batch, length, NUM_BANDS)) * noisy
    return np.maximum(10 * np.log10(10 ** (heard / 10) + noise), -LOWEST_DB).astype(np.float32)
