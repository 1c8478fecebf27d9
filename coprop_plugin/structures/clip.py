"""A clip: frames, the sound that goes with them, and their time base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import CoPropError
from . import notebook
from .frozen import Frozen, locked, read_only, read_only_frames
from .stack import Frames
from .time_base import TimeBase


@dataclass(frozen=True, eq=False, repr=False)
class Sound(Frozen):
    """Mono sound at its native rate, aligned with the video: sample 0 is at 0 s of the clip.

    Read-only once made. Two sounds are equal if they are the same object; compare ``samples`` for the same sound.

    Attributes:
        samples: ``(N,) float32`` in about [-1, 1]; the channel mean of the source. May be a memory map: slice it.
        rate_hz: samples a second.
        ends: how many samples come from the recording, if zeros were put behind them; by default all.
    """

    samples: np.ndarray
    rate_hz: int
    ends: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.samples, np.ndarray):
            raise CoPropError(f"sound is an array (N,) float32, mono; got {type(self.samples).__name__}.")
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise CoPropError(f"sound is (N,) float32, mono; got {self.samples.dtype} {self.samples.shape}.")
        if self.rate_hz <= 0:
            raise CoPropError(f"the sample rate must be positive, got {self.rate_hz} Hz.")
        object.__setattr__(self, "samples", read_only(self.samples))

    def __repr__(self) -> str:
        return f"Sound({self.duration_s:.2f} s, {self.rate_hz} Hz)"

    @property
    def recorded(self) -> int:
        """How many samples are the recording's own; what follows only fills the clip's length."""
        return len(self.samples) if self.ends is None else min(self.ends, len(self.samples))

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def window(self, start_s: float, stop_s: float) -> np.ndarray:
        """``(n,) float32``: the samples of ``[start_s, stop_s)``, zeros where the sound has ended."""
        start, stop = round(start_s * self.rate_hz), round(stop_s * self.rate_hz)
        piece = np.asarray(self.samples[max(0, start) : max(0, stop)])
        missing = (stop - start) - len(piece)
        if missing <= 0:
            return piece
        before = min(missing, max(0, -start))
        return np.pad(piece, (before, missing - before))

    @classmethod
    def silence(cls, duration_s: float, *, rate_hz: int = 16000) -> Sound:
        return cls(locked(np.zeros(round(duration_s * rate_hz), np.float32)), rate_hz)  # no copy: zeros take no memory


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Frozen):
    """Frames, sound and time base of one piece of video.

    Read-only once made. Two clips are equal if they are the same object: their frames are read when asked for.

    Attributes:
        clip_id: a name for messages and files (no path).
        frames: ``(T, H, W, 3) uint8`` RGB, read one at a time.
        sound: mono, native rate.
        time_base: when frames are shown and which sound is theirs.
        between: ``(start_s, stop_s) -> frames (H, W, 3)`` of the video strictly between two times, in order,
            where the video itself is at hand; ``None`` for a folder of frames.
        notes: what reading found worth telling (a padded sound, a default that was taken).
    """

    clip_id: str
    frames: Frames
    sound: Sound
    time_base: TimeBase
    between: Callable[[float, float], Iterator[np.ndarray]] | None = field(default=None)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        what = f"clip '{self.clip_id}': frames (T, H, W, 3) uint8 RGB"
        object.__setattr__(self, "frames", read_only_frames(self.frames, what=what))
        object.__setattr__(self, "notes", tuple(self.notes))
        shape = tuple(self.frames.shape)
        if len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
            raise CoPropError(f"clip '{self.clip_id}': frames are (T, H, W, 3) uint8 RGB, got the shape {shape}.")
        if shape[0] != len(self.time_base):
            raise CoPropError(f"clip '{self.clip_id}': {shape[0]} frames, but a time base of {len(self.time_base)}.")

    @property
    def num_frames(self) -> int:
        return self.frames.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    def sound_of(self, t: int) -> np.ndarray:
        """``(n,) float32``: the sound of frame t."""
        return self.sound.window(*self.time_base.sound_window_s[t])

    def __repr__(self) -> str:
        height, width = self.size
        return (
            f"Clip('{self.clip_id}', {self.num_frames} frames of {width}x{height} px, {self.time_base.sampling}, "
            f"{self.time_base.duration_s:.2f} s, {self.sound!r})"
        )

    def _repr_html_(self) -> str:
        return notebook.paragraph(repr(self)) + notebook.strip(self.frames, label=self.clip_id)
