"""Phrases of General MIDI instruments, rendered from a sound font by ``fluidsynth``."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ...errors import CoPropError
from ...media.sound import read_sound
from .recordings import at_rate

_TICKS = 480  # a beat, at 120 beats a minute: half a second
_SCALE = (0, 2, 4, 7, 9, 12)
_EFFECTS = range(120, 128)  # programs that are noises, held at one pitch
_LOW = {33: 28, 34: 28, 42: 43, 43: 31, 47: 36, 57: 46, 58: 34, 60: 48, 70: 41}  # program -> lowest pitch; others 55
_TIMEOUT_S = 60


def render_phrases(soundfont: Path, program: int) -> np.ndarray:
    """``(N,) float32`` at the library's rate: about 12 s of phrases with rests, the same every time.

    Raises:
        CoPropError: no such sound font, or ``fluidsynth`` is missing or fails.
    """
    if not soundfont.is_file():
        raise CoPropError(f"{soundfont}: no such sound font; Debian's package timgm6mb-soundfont has one.")
    if shutil.which("fluidsynth") is None:
        raise CoPropError(
            "sounds of instruments are rendered by 'fluidsynth', which is not installed: apt install fluidsynth."
        )
    with tempfile.TemporaryDirectory() as folder:
        midi, sound = Path(folder) / "phrases.mid", Path(folder) / "phrases.wav"
        midi.write_bytes(_midi(program))
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-g",
            "0.6",
            "-r",
            "44100",
            "-F",
            str(sound),
            str(soundfont.absolute()),
            str(midi),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CoPropError(
                f"fluidsynth took more than {_TIMEOUT_S} s over program {program} of {soundfont}."
            ) from error
        if done.returncode or not sound.is_file():
            told = done.stderr.decode(errors="replace").strip()[-200:]
            raise CoPropError(f"fluidsynth failed with {soundfont}, program {program}: {told}")
        read = read_sound(sound)
        return at_rate(np.asarray(read.samples), read.rate_hz)


def _midi(program: int) -> bytes:
    """A MIDI file of one track: phrases of 4 to 8 notes of a pentatonic scale, rests of a beat or two between."""
    rng = np.random.default_rng((program, 0x6D19))
    lowest = _LOW.get(program, 55)
    events = bytearray([0, 0xC0, program])
    wait = 0
    for _ in range(4):
        for _ in range(1 if program in _EFFECTS else int(rng.integers(4, 9))):
            pitch = lowest + (0 if program in _EFFECTS else int(rng.choice(_SCALE)) + 12 * int(rng.integers(0, 2)))
            ticks = 4 * _TICKS if program in _EFFECTS else int(_TICKS * rng.choice((0.5, 0.75, 1.0, 1.5)))
            events += _variable(wait) + bytes([0x90, pitch, int(rng.integers(70, 120))])
            events += _variable(ticks) + bytes([0x80, pitch, 0])
            wait = 0
        wait = int(_TICKS * rng.integers(1, 3))
    events += _variable(0) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS) + b"MTrk" + struct.pack(">I", len(events)) + bytes(events)


def _variable(value: int) -> bytes:
    """MIDI's numbers of 7 bits a byte."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))
