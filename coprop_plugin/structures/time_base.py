"""When each frame is shown and which stretch of sound belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import CoPropError
from .frozen import Frozen, read_only

RATES_HZ = (Fraction(1, 60), Fraction(1000))
_RATE = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?(/[0-9]{1,12})?", re.ASCII)
AVSBENCH_SHOWN = Fraction(15, 16)  # AVSBench's preparation shows second k at k + 15/16 s


@dataclass(frozen=True)
class Sampling:
    """A named rule that places frames in time: ``avsbench`` or ``uniform:RATE``.

    Attributes:
        name: ``"avsbench"`` or ``"uniform"``.
        rate_hz: frames a second, exact (``avsbench`` is 1).
    """

    name: str
    rate_hz: Fraction

    def __post_init__(self) -> None:
        if self.name not in ("avsbench", "uniform"):
            raise CoPropError(f"unknown sampling '{self.name}'. Allowed: avsbench, uniform:RATE (as uniform:25).")
        if not RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1] or (self.name == "avsbench" and self.rate_hz != 1):
            raise CoPropError(
                f"the sampling '{self.name}' cannot have the rate {float(self.rate_hz):.6g} Hz; allowed are "
                f"{float(RATES_HZ[0]):g} to {float(RATES_HZ[1]):g} frames a second."
            )

    def __str__(self) -> str:
        return self.name if self.name == "avsbench" else f"uniform:{self.rate_hz}"

    def frame_time_s(self, num_frames: int) -> np.ndarray:
        """``(T,) float64``: when frame k is shown."""
        offset = AVSBENCH_SHOWN if self.name == "avsbench" else Fraction(0)
        return np.array([float(k / self.rate_hz + offset) for k in range(num_frames)])

    def sound_window_s(self, num_frames: int) -> np.ndarray:
        """``(T, 2) float64``: the half-open stretch of sound of frame k, ``[k/rate, (k+1)/rate)``."""
        edges = np.array([float(k / self.rate_hz) for k in range(num_frames + 1)])
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def num_frames(self, duration_s: float) -> int:
        """How many frames a video of this length has: ``avsbench`` one per begun second that is shown, at least 1."""
        if self.name == "avsbench":
            return max(1, int(np.floor(duration_s + 1e-6)))
        return max(1, int(np.ceil(duration_s * float(self.rate_hz) - 1e-6)))


def parse_sampling(text: str | Sampling) -> Sampling:
    """``"avsbench"``, ``"uniform:25"`` or ``"uniform:30000/1001"`` as a :class:`Sampling`."""
    if isinstance(text, Sampling):
        return text
    name, _, rate = str(text).partition(":")
    if rate and not _RATE.fullmatch(rate):  # a fraction is exact: 1e999999999 would be worked out to its last digit
        raise CoPropError(
            f"the rate in the sampling {str(text)[:80]!r} is not a number; write uniform:25 or uniform:30000/1001."
        )
    try:
        rate_hz = Fraction(rate) if rate else Fraction(1)
    except (ValueError, ZeroDivisionError) as error:
        raise CoPropError(
            f"the rate in the sampling '{text}' is not a number; write uniform:25 or uniform:30000/1001."
        ) from error
    if name == "uniform" and not rate:
        raise CoPropError("the sampling 'uniform' needs a rate in frames a second; write uniform:25.")
    return Sampling(name, rate_hz)


@dataclass(frozen=True, eq=False, repr=False)
class TimeBase(Frozen):
    """``frame_time_s (T,)`` and ``sound_window_s (T, 2)`` in seconds, float64, both increasing.

    ``sampling`` is the rule that they follow. Read-only once made; two are equal if all their values are.
    """

    sampling: Sampling
    frame_time_s: np.ndarray
    sound_window_s: np.ndarray

    def __post_init__(self) -> None:
        times, windows = np.asarray(self.frame_time_s, float), np.asarray(self.sound_window_s, float)
        if times.ndim != 1 or len(times) == 0 or windows.shape != (len(times), 2):
            raise CoPropError(
                f"a time base needs frame_time_s (T,) and sound_window_s (T, 2), got {times.shape} and {windows.shape}."
            )
        if not (np.isfinite(times).all() and np.isfinite(windows).all()):
            raise CoPropError("a time base holds finite seconds only.")
        if (np.diff(times) <= 0).any() or (np.diff(windows[:, 0]) <= 0).any() or (windows[:, 1] <= windows[:, 0]).any():
            raise CoPropError("frame times and sound windows must increase from frame to frame.")
        object.__setattr__(self, "frame_time_s", read_only(times))
        object.__setattr__(self, "sound_window_s", read_only(windows))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TimeBase):
            return NotImplemented
        return (
            self.sampling == other.sampling
            and np.array_equal(self.frame_time_s, other.frame_time_s)
            and np.array_equal(self.sound_window_s, other.sound_window_s)
        )

    def __hash__(self) -> int:
        return hash((self.sampling, self.frame_time_s.tobytes(), self.sound_window_s.tobytes()))

    def __repr__(self) -> str:
        start, stop = self.sound_window_s[0, 0], self.sound_window_s[-1, 1]
        return f"TimeBase({self.sampling}, {len(self)} frames, sound {start:.2f} to {stop:.2f} s)"

    @classmethod
    def of(cls, sampling: str | Sampling, num_frames: int) -> TimeBase:
        """The time base of ``num_frames`` frames under a named sampling."""
        sampling = parse_sampling(sampling)
        return cls(sampling, sampling.frame_time_s(num_frames), sampling.sound_window_s(num_frames))

    def __len__(self) -> int:
        return len(self.frame_time_s)

    @property
    def duration_s(self) -> float:
        """End of the last sound window."""
        return float(self.sound_window_s[-1, 1])

    def frame_of_change(self, time_s: float) -> int | None:
        """The first frame whose window's midpoint is at or after ``time_s``; ``None`` after the last midpoint."""
        frame = int(np.searchsorted(self.sound_window_s.mean(axis=1), time_s - 1e-9, side="left"))
        return frame if frame < len(self) else None

    def flags_of_changes(self, times_s: Iterable[float]) -> np.ndarray:
        """``(T,) bool`` control-point flags for changes at these seconds; frame 0 is always one."""
        flags = np.zeros(len(self), bool)
        flags[0] = True
        for time_s in times_s:
            frame = self.frame_of_change(time_s)
            if frame is not None:
                flags[frame] = True
        return flags
