"""A video as frames by index and time, decoded when asked for, with bounded memory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .backend import Decoder, VideoStream

CACHE_BYTES = 64 << 20  # of decoded frames, the last used ones, at least two


class FrameCache:
    """The last frames that were read, by index, up to ``limit_bytes`` (always at least two)."""

    def __init__(self, *, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._frames: OrderedDict[int, np.ndarray] = OrderedDict()

    def get(self, index: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """A copy of the frame from memory, else of what ``read`` gives."""
        frame = self._frames.pop(index, None)
        if frame is None:
            frame = read(index)
        self._frames[index] = frame
        while len(self._frames) > max(2, self.limit_bytes // frame.nbytes):
            self._frames.popitem(last=False)
        return frame.copy()

    def __len__(self) -> int:
        return len(self._frames)


class VideoFile:
    """The frames of a probed stream; the file is opened on first use, anew in each process.

    Can be pickled and used by several threads; they take turns.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self._forget()

    def _forget(self) -> None:
        self._decoder: Decoder | None = None
        self._process = os.getpid()
        self._cache = FrameCache()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"stream": self.stream}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["stream"])  # type: ignore[misc]

    def frame(self, index: int) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB of the video's own frame ``index``."""
        if self._process != os.getpid():
            self._forget()
        with self._lock:
            return self._cache.get(index, self._decode)

    def _decode(self, index: int) -> np.ndarray:
        if self._decoder is None:
            self._decoder = self.stream.open()
        return self._decoder.frame(index)

    def strictly_between(self, start_s: float, stop_s: float) -> Iterator[np.ndarray]:
        """Frames that begin after ``start_s`` and before ``stop_s``, in order, one at a time."""
        return (self.frame(i) for i in self.stream.timeline.strictly_between(start_s, stop_s))
