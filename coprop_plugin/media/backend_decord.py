"""Video by decord, for machines without PyAV. Frames only: its sound is not to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import decord
import numpy as np

from ..errors import MediaError
from .forks import never_free_in_children
from .images import MAX_PIXELS
from .timeline import MAX_DURATION_S, Timeline
from .whole import missing_bytes

_MEND = "Copy or download it again, or mend it: ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"


@dataclass(frozen=True)
class DecordStream:
    """A video stream as :class:`~coprop_plugin.media.backend.VideoStream`."""

    path: Path
    timeline: Timeline
    start_s: float
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    def open(self) -> DecordDecoder:
        return DecordDecoder(self)


def probe(path: Path, family: str) -> DecordStream:
    """The table of frames and the size of the first, with no reader left open: one would hang after a fork.

    Where PyAV is installed the table is its: it counts the video streams (decord takes the largest and cannot be told
    otherwise), tells where a cut-off file ends, and knows the times of more formats. decord alone gives its own table.

    Raises:
        MediaError: several video streams, a cut-off file, or one that decord cannot read or counts otherwise.
    """
    try:
        from .backend_av import probe as probe_av
    except ImportError:
        return _probe_alone(path, family)
    known = probe_av(path, family)
    if known.streams > 1:
        raise MediaError(
            f"{path}: holds {known.streams} video streams, and decord cannot be told to take the first. "
            "Say backend='av'."
        )
    count, _ = _look(path)
    if count != len(known.timeline):
        raise MediaError(
            f"{path}: decord counts {count} frames, but {len(known.timeline)} are shown. Say backend='av'."
        )
    return DecordStream(path, known.timeline, known.start_s, known.size, known.notes)


def _probe_alone(path: Path, family: str) -> DecordStream:
    if missing := missing_bytes(path, family):
        raise MediaError(f"{path}: is cut off: {missing} bytes are missing at its end. {_MEND}")
    count, size = _look(path)
    reader = decord.VideoReader(str(path), num_threads=1)
    spans_s = np.asarray(reader.get_frame_timestamp(range(count)), np.float64).reshape(-1, 2)
    if (np.abs(spans_s) > MAX_DURATION_S).any() or (np.diff(spans_s[:, 0]) <= 0).any():
        raise MediaError(f"{path}: decord finds no usable times in it; pip install av, or re-encode it. {_MEND}")
    start_s = float(spans_s[0, 0])
    timeline = Timeline(spans_s[:, 0] - start_s, float(spans_s[-1, 1]) - start_s, float(reader.get_avg_fps()))
    notes = ("read by decord alone, which takes the largest video stream where there are several",)
    return DecordStream(path, timeline, start_s, size, notes)


def _look(path: Path) -> tuple[int, tuple[int, int]]:
    """How many frames decord counts, and the height and width of the first."""
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        height, width, channels = _array(reader.next()).shape
    except (decord.DECORDError, RuntimeError, StopIteration) as error:
        raise MediaError(f"{path}: cannot be read by decord ({_first_line(error)}). {_MEND}") from error
    if channels != 3:
        raise MediaError(f"{path}: decord gives {channels} channels for video that is shown turned. Say backend='av'.")
    if height * width > MAX_PIXELS:
        raise MediaError(f"{path}: holds frames of {width}x{height}; at most {MAX_PIXELS // 10**6} million pixels.")
    return len(reader), (height, width)


class DecordDecoder:
    """Decodes forward only, and from the beginning where the wanted frame lies behind.

    decord's own seeking and skipping give other frames without a word where groups of pictures are open (seen with
    h264, hevc and MPEG-4), so they are not used: exact, but slow for random access in long videos.
    """

    _next: int

    def __init__(self, stream: DecordStream) -> None:
        self._stream = stream
        never_free_in_children(self)
        self._begin()

    def frame(self, index: int) -> np.ndarray:
        if index < self._next:
            self._begin()
        try:
            while True:
                frame, self._next = self._reader.next(), self._next + 1
                if self._next > index:
                    return _array(frame)
        except (decord.DECORDError, RuntimeError, StopIteration) as error:
            times_s, at = self._stream.timeline.times_s, min(self._next, index)
            self._begin()
            raise MediaError(
                f"{self._stream.path}: the video is damaged at {times_s[at]:.2f} s, frame {at} of {len(times_s)} "
                f"({_first_line(error)}). {_MEND}"
            ) from error

    def _begin(self) -> None:
        self._reader, self._next = decord.VideoReader(str(self._stream.path), num_threads=1), 0


def _array(frame: object) -> np.ndarray:
    """``(H, W, 3) uint8``, whatever bridge the caller has set in decord."""
    return frame.asnumpy() if hasattr(frame, "asnumpy") else np.asarray(frame)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
