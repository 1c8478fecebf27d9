"""The sound of synthetic clips: every class has its own timbre, made by formula; nothing is recorded.

The 70 classes are 7 families of sound in 10 registers: class ``c`` has the family ``(c - 1) % 7`` and the register
``(c - 1) // 7 % 10``; classes beyond 70 repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RATE_HZ = 16000
LOOP_S, DRAWN_LOOP_S = 2, 7
_FADE_S = 0.008
_ENVELOPE_HZ = 4


@dataclass(frozen=True)
class SoundEvent:
    """One stretch of sound.

    Attributes:
        class_id: whose timbre.
        object_id: which object makes it; ``None`` for a sound from off-screen.
        start_s, stop_s: half open.
        level_db: RMS relative to full scale.
        voice: 0 for the class's own timbre, else the seed of one drawn for this source alone.
    """

    class_id: int
    object_id: int | None
    start_s: float
    stop_s: float
    level_db: float
    voice: int = 0


def mix(rng: np.random.Generator, events: list[SoundEvent], duration_s: float, bed_db: float | None) -> np.ndarray:
    """``(N,) float32`` at RATE_HZ: the events with varying loudness and pitch, over a bed of noise where wanted.

    Args:
        rng: drawn from in the order of the events.
        events: what sounds when.
        duration_s: of the whole.
        bed_db: RMS of the bed; ``None`` is digital silence between the sounds.
    """
    samples = np.zeros(round(duration_s * RATE_HZ), np.float32)
    if bed_db is not None:
        bed = np.roll(_bed(), int(rng.integers(LOOP_S * RATE_HZ)))
        samples += np.resize(bed * np.float32(10 ** (bed_db / 20)), len(samples))
    for event in events:
        start, stop = round(event.start_s * RATE_HZ), min(round(event.stop_s * RATE_HZ), len(samples))
        samples[start:stop] += _play(rng, event, stop - start)
    return samples / max(1.0, float(np.abs(samples).max(initial=0.0)))


def _play(rng: np.random.Generator, event: SoundEvent, count: int) -> np.ndarray:
    """``count`` samples of the class's loop at a pitch of its own (up to 3 % off), loudness moving within 5 dB."""
    loop = drawn_loop(event.voice) if event.voice else class_loop(event.class_id)
    place = rng.uniform(0, len(loop)) + rng.uniform(0.97, 1.03) * np.arange(count)
    index = place.astype(np.int64)
    part = (place - index).astype(np.float32)
    index %= len(loop)
    tone = loop[index] * (1 - part) + np.append(loop, loop[0])[index + 1] * part
    knots = np.arange(0, count + RATE_HZ, RATE_HZ // _ENVELOPE_HZ)
    loudness = np.interp(np.arange(count), knots, rng.uniform(0.55, 1.0, len(knots))).astype(np.float32)
    fade = min(round(_FADE_S * RATE_HZ), count // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    loudness[:fade] *= ramp
    loudness[count - fade :] *= ramp[::-1]
    return tone * loudness * np.float32(10 ** (event.level_db / 20))


@lru_cache(maxsize=70)  # 128 kB each
def class_loop(class_id: int) -> np.ndarray:
    """``(LOOP_S * RATE_HZ,) float32`` of RMS 1 that repeats without a seam: what a class sounds like."""
    family, register = (class_id - 1) % len(_FAMILIES), (class_id - 1) // len(_FAMILIES) % 10
    pitch_hz = round(2 * 110 * 2 ** (0.45 * register)) / 2  # whole periods in a loop
    loop = _FAMILIES[family](pitch_hz, np.random.default_rng((class_id, 0x7142)))
    loop = (loop / np.sqrt(np.mean(loop**2))).astype(np.float32)
    loop.flags.writeable = False
    return loop


@lru_cache(maxsize=16)  # 448 kB each
def drawn_loop(voice: int) -> np.ndarray:
    """``(7 * RATE_HZ,) float32`` of RMS 1 that repeats without a seam: a timbre drawn from a seed from 1 on.

    Other than a class's loop it changes as it goes: a phrase of three or four notes of one family whose pitch, colour
    and loudness wander, with breaths of 0.1 to 0.4 s, as speakers and animals have them.
    """
    rng = np.random.default_rng((voice, 0xD12A))
    family, count = _FAMILIES[int(rng.integers(len(_FAMILIES)))], DRAWN_LOOP_S * RATE_HZ
    pitch_hz, colour = 90 * 2 ** rng.uniform(0, 3.5), rng.uniform(-0.6, 0.6)
    phrase = np.zeros(count)
    bounds = np.append(np.sort(rng.uniform(0, DRAWN_LOOP_S, 3)), DRAWN_LOOP_S)
    start_s = 0.0
    for stop_s in bounds:
        note = family(round(2 * pitch_hz * 2 ** rng.uniform(-0.25, 0.25)) / 2, rng)
        breath_s = rng.uniform(0.1, 0.4) if stop_s - start_s > 1 else 0.0
        span = slice(round(start_s * RATE_HZ), round((stop_s - breath_s) * RATE_HZ))
        level = np.linspace(rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0), span.stop - span.start)
        phrase[span] = np.resize(note, span.stop - span.start) * level
        start_s = float(stop_s)
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 60)
    loop = np.fft.irfft(np.fft.rfft(phrase) * (frequency / 1000) ** colour, count)
    loop = (loop / np.sqrt(np.mean(loop**2))).astype(np.float32)
    loop.flags.writeable = False
    return loop


@lru_cache(maxsize=1)
def _bed() -> np.ndarray:
    """Noise that falls by 3 dB an octave, RMS 1."""
    frequency = np.maximum(np.fft.rfftfreq(LOOP_S * RATE_HZ, 1 / RATE_HZ), 30)
    noise = _shaped_noise(np.random.default_rng(0xBED), frequency**-0.5)
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def _time() -> np.ndarray:
    return np.arange(LOOP_S * RATE_HZ) / RATE_HZ


def _partials(pitch_hz: float, ratios: np.ndarray, levels: np.ndarray, bend: np.ndarray | float = 0.0) -> np.ndarray:
    """Sines at multiples of a pitch that stay below the band's edge; ``bend`` is a common phase in cycles."""
    cycles = pitch_hz * _time() + bend
    wave = np.zeros(LOOP_S * RATE_HZ)
    for ratio, level in zip(ratios, levels, strict=True):
        exact = round(2 * pitch_hz * ratio) / (2 * pitch_hz)
        if pitch_hz * exact < 0.46 * RATE_HZ:
            wave += level * np.sin(2 * np.pi * exact * cycles)
    return wave


def _shaped_noise(rng: np.random.Generator, spectrum: np.ndarray) -> np.ndarray:
    phase = rng.uniform(0, 2 * np.pi, len(spectrum))
    return np.fft.irfft(spectrum * np.exp(1j * phase), LOOP_S * RATE_HZ)


def _strikes(rate_hz: int, decay_s: float) -> np.ndarray:
    """An envelope that falls from 1 after each of ``rate_hz`` strikes a second."""
    return np.exp(-(_time() % (1 / rate_hz)) / decay_s)


def _harmonic(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    order = np.arange(1, 11)
    return _partials(pitch_hz, order, 1 / order)


def _reed(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Odd partials with vibrato (frequency modulation)."""
    order = np.arange(1, 16, 2)
    return _partials(pitch_hz, order, order**-0.7, bend=pitch_hz * 0.0015 * np.sin(2 * np.pi * 5 * _time()))


def _noise_band(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    frequency = np.fft.rfftfreq(LOOP_S * RATE_HZ, 1 / RATE_HZ)
    octaves = np.log2(np.maximum(frequency, 1) / (2.5 * pitch_hz))
    return _shaped_noise(rng, np.exp(-((octaves / 0.3) ** 2)))


def _chirps(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Four upward sweeps over two octaves a second."""
    place = (_time() * 4) % 1
    return np.sin(2 * np.pi * pitch_hz * (4**place - 1) / (4 * np.log(4))) * np.sin(np.pi * place) ** 0.5


def _pulses(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Seven dull strikes of noise a second with a resonance."""
    strikes = _strikes(7, 0.03)
    return strikes * (_noise_band(pitch_hz, rng) * 3 + _partials(pitch_hz, np.array([1.0]), np.array([0.05])))


def _tremolo(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Two tones a fifth apart, amplitude-modulated at 13 Hz."""
    tones = _partials(pitch_hz, np.array([1.0, 1.5]), np.array([1.0, 0.8]))
    return tones * (0.55 + 0.45 * np.sin(2 * np.pi * 13 * _time()))


def _bell(pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Inharmonic partials, struck twice a second."""
    ratios = np.array([1.0, 2.76, 5.4, 8.93])
    return _partials(pitch_hz, ratios, np.array([0.6, 1.0, 0.7, 0.4])) * (_strikes(2, 0.25) + 0.12)


_FAMILIES = (_harmonic, _noise_band, _chirps, _tremolo, _pulses, _bell, _reed)
