"""When the frames of a video are shown, and which of them a sampling takes: pure functions over times."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import MediaError
from ..structures.time_base import AVSBENCH_SHOWN, Sampling

# Matroska rounds times to a millisecond, decord gives them as float32: times this close are the same.
SAME_TIME_S = 1e-3
SAME_DURATION_S = 2e-3
MAX_DURATION_S = 24 * 3600
MAX_FRAMES = 10_000_000  # of a clip; more are a slip in the rate
# AVSBench's rule counts frames with the rounded rate. On its clips of 5 and 10 s that is at most some frames off; on
# long clips of 29.97 fps it would drift by seconds, so it is left where it is this far from the picture's own time.
MAX_DRIFT_S = 0.5


@dataclass(frozen=True)
class Timeline:
    """Frames of a video in the order in which they are shown.

    Attributes:
        times_s: ``(N,) float64``, increasing; frame 0 is shown at 0 s.
        duration_s: when the last frame has been shown.
        declared_rate_hz: what the container says of the rate (0: nothing).
    """

    times_s: np.ndarray
    duration_s: float
    declared_rate_hz: float

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s, float)
        if times.ndim != 1 or len(times) == 0:
            raise MediaError(f"a video has at least one frame, got times of the shape {times.shape}.")
        if not np.isfinite(times).all() or times[0] != 0 or (np.diff(times) <= 0).any() or self.duration_s <= times[-1]:
            raise MediaError("the frame times of a video begin at 0 s, increase, and end before its duration.")
        if self.duration_s > MAX_DURATION_S:
            raise MediaError(f"a video of {self.duration_s:.0f} s; at most {MAX_DURATION_S} s (24 h) are read.")
        object.__setattr__(self, "times_s", times)

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def constant_rate_hz(self) -> float | None:
        """Frames a second where every frame stands on a regular grid, else ``None``."""
        if len(self) < 2:
            return self.declared_rate_hz or None
        rate_hz = (len(self) - 1) / self.times_s[-1]
        if np.abs(self.times_s - np.arange(len(self)) / rate_hz).max() > 2 * SAME_TIME_S:
            return None
        # The published preparation reads the declared rate; the fitted one only carries the rounding of the times.
        agrees = abs(self.declared_rate_hz - rate_hz) < 5e-3 * rate_hz
        return self.declared_rate_hz if agrees else rate_hz

    def index_at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Index of the frame shown at each time: the last one that has begun (the first one before 0 s)."""
        return np.maximum(np.searchsorted(self.times_s, np.asarray(time_s) + SAME_TIME_S, side="right") - 1, 0)

    def strictly_between(self, start_s: float, stop_s: float) -> range:
        """Indices of the frames that begin after ``start_s`` and before ``stop_s``."""
        first = int(np.searchsorted(self.times_s, start_s + SAME_TIME_S, side="right"))
        return range(first, int(np.searchsorted(self.times_s, stop_s - SAME_TIME_S, side="left")))


def num_frames(sampling: Sampling, duration_s: float) -> int:
    """T of a video: whole seconds for ``avsbench`` (at least 1), ``ceil(duration * rate)`` for ``uniform``.

    A duration within SAME_DURATION_S of a whole number of frames is that number.

    Raises:
        MediaError: more than MAX_FRAMES.
    """
    whole = Fraction(round(duration_s * float(sampling.rate_hz))) / sampling.rate_hz
    near = abs(float(whole) - duration_s) < SAME_DURATION_S
    count = sampling.num_frames(float(whole) if near else duration_s)
    if count > MAX_FRAMES:
        raise MediaError(f"the sampling {sampling} gives {count} frames in {duration_s:.1f} s; at most {MAX_FRAMES}.")
    return count


def sampled_indices(timeline: Timeline, sampling: Sampling) -> tuple[np.ndarray, tuple[str, ...]]:
    """``(T,)`` indices of the frames that a sampling takes, and what is worth telling about them.

    ``uniform`` takes the frame shown at k/rate. ``avsbench`` takes frame ``int(k*f + 15/16*f)``, f the rounded rate,
    as the published preparation counts them (indices past the end: the last frame); where the rate is not constant, or
    the count drifts by more than MAX_DRIFT_S, the frame shown at k + 15/16 s.
    """
    count = num_frames(sampling, timeline.duration_s)
    shown = timeline.index_at(sampling.frame_time_s(count))
    if sampling.name == "uniform":
        return shown, ()
    rate_hz = timeline.constant_rate_hz
    if rate_hz is None:
        return shown, ("the frame rate varies: frame k is the one shown at k + 15/16 s",)
    whole_rate = max(1, round(rate_hz))
    counted = np.array([int(k * whole_rate + AVSBENCH_SHOWN * whole_rate) for k in range(count)])
    counted = np.minimum(counted, len(timeline) - 1)
    drift_s = np.abs(timeline.times_s[counted] - timeline.times_s[shown]).max()
    if drift_s > MAX_DRIFT_S:
        return shown, (
            f"at {rate_hz:.3f} frames a second AVSBench's count (int(k*{whole_rate} + 15/16*{whole_rate})) would drift "
            f"by {drift_s:.1f} s: frame k is the one shown at k + 15/16 s",
        )
    return counted, ()
