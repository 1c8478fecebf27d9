"""A stretch of silence on which blocks of sound are placed by their time."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import MediaError
from ..structures import Sound
from .mending import Channels, mend

MEMORY_BYTES = 64 << 20  # longer sound (six minutes at 44.1 kHz) lies in an unnamed temporary file, mapped
RATES_HZ = (1000, 768_000)  # allowed sample rates
MAX_CHANNELS = 64
TOLD_S = 1e-3  # what is padded or cut beyond this is told


class NoSoundError(MediaError):
    """A video without an audio stream."""


@dataclass(frozen=True)
class Track:
    """Sound on the clip's clock, with what was padded or cut."""

    sound: Sound
    notes: tuple[str, ...] = ()


def zeros(num_samples: int) -> np.ndarray:
    """``(N,) float32`` of silence; beyond MEMORY_BYTES in a temporary file that vanishes with the array.

    Raises:
        MediaError: the disk has no room for the file.
    """
    if num_samples * 4 <= MEMORY_BYTES:
        return np.zeros(num_samples, np.float32)
    with tempfile.TemporaryFile(prefix="coprop-sound-") as file:
        try:  # the room is taken now: a mapped file that the disk cannot hold ends the process when it is written
            os.posix_fallocate(file.fileno(), 0, num_samples * 4)
        except OSError as error:
            raise MediaError(
                f"{num_samples * 4 / 2**30:.1f} GiB of sound do not fit in {tempfile.gettempdir()} ({error.strerror}). "
                "Make room there, or name another folder with TMPDIR."
            ) from error
        return np.memmap(file, np.float32, "r+", shape=(num_samples,))


def check_form(path: Path, rate_hz: int, channels: int, *, most_channels: int = MAX_CHANNELS) -> None:
    """Raise a :class:`MediaError` for a sample rate or number of channels that no recording has."""
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1] or not 1 <= channels <= most_channels:
        raise MediaError(
            f"{path}: announces {channels} channels at {rate_hz} Hz; allowed are 1 to {most_channels} channels at "
            f"{RATES_HZ[0]} to {RATES_HZ[1]} Hz."
        )


class Canvas:
    """``num_samples`` zeros at ``rate_hz``; sample 0 is at 0 s of the clip.

    Args:
        path: the source, for messages.
        channel: take this channel of the blocks, not their mean.
    """

    def __init__(self, path: Path, *, rate_hz: int, num_samples: int, channel: int | None = None) -> None:
        self.path, self.rate_hz = path, rate_hz
        self.samples = zeros(num_samples)
        self.channels = Channels(rate_hz=rate_hz, channel=channel)
        self.first: int | None = None  # where the sound begins and ends, also outside of the canvas
        self.end = 0
        self.holes, self.hole_samples = 0, 0

    def place(self, start: int, block: np.ndarray) -> None:
        """Put ``(n, C)`` as mono at the sample ``start``; what lies outside is left out.

        Raises:
            MediaError: NaN or infinite samples.
        """
        if not np.isfinite(block).all():
            raise MediaError(
                f"{self.path}: holds NaN or infinite samples at {max(start, 0) / self.rate_hz:.2f} s; write the sound "
                "again as 16-bit PCM."
            )
        mono = self.channels.mono(block)
        if self.first is None:
            self.first = self.end = start
        elif start > self.end:
            self.holes, self.hole_samples = self.holes + 1, self.hole_samples + start - self.end
        self.end = max(self.end, start + len(block))
        low, high = max(start, 0), min(start + len(block), len(self.samples))
        if low < high:
            self.samples[low:high] = mono[low - start : high - start]

    def trim(self, end: int) -> None:
        """Take back what lies from the sample ``end`` on: padding behind the sound."""
        if end < self.end:
            self.samples[max(end, 0) : max(self.end, 0)] = 0
            self.end = end

    def track(self, *, ends_s: float, padded: bool) -> Track:
        """The finished sound: cut at its own end, or ``padded`` with zeros to the full length.

        Args:
            ends_s: where the source ends, which may lie beyond what was placed.
            padded: keep the full length, and tell what was added or left out.
        """
        if self.first is None:
            raise MediaError(f"{self.path}: its sound holds no samples.")
        length = len(self.samples) if padded else min(max(self.end, 1), len(self.samples))
        starts_s, length_s = self.first / self.rate_hz, length / self.rate_hz
        recorded = min(max(self.end, 0), length)
        notes = list(mend(self.samples[max(self.first, 0) : recorded], where=str(self.path)))
        if self.channels.channel is not None:
            notes.append(
                f"the channels cancel each other in their mean; channel {self.channels.channel + 1} is heard alone"
            )
        if starts_s > TOLD_S:
            notes.append(f"the sound starts {starts_s:.3f} s late; zeros stand before it")
        if starts_s < -TOLD_S:
            notes.append(f"the sound starts {-starts_s:.3f} s before the picture; that is left out")
        if self.holes:
            notes.append(f"the sound has {self.holes} gaps, {self.hole_samples / self.rate_hz:.3f} s of zeros in all")
        if padded and length_s - ends_s > TOLD_S:
            notes.append(f"the sound ends at {ends_s:.3f} s; zeros follow up to {length_s:.3f} s")
        if padded and ends_s - length_s > TOLD_S:
            notes.append(f"the sound is {ends_s - length_s:.3f} s longer than the frames' windows; that is left out")
        return Track(Sound(self.samples[:length], self.rate_hz, ends=recorded), tuple(notes))
