"""Arrays kept by index, in memory up to a bound and in an unnamed temporary file beyond it."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np


class FrameSpool:
    """A dictionary ``index -> (…) float32`` array whose memory is bounded; the file vanishes with the object.

    Args:
        limit_bytes: what is held in memory at most; later arrays go to the file.
    """

    def __init__(self, *, limit_bytes: int = 256 << 20) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0
        # One block, of which only what is written takes memory. Thousands of small arrays between the large ones that
        # come and go would keep the heap from ever shrinking: over 1000 frames that was measured as 1.5 GB.
        self._block: np.ndarray | None = None
        self._held: dict[int, np.ndarray] = {}
        self._spilled: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._held) + len(self._spilled)

    def __contains__(self, index: object) -> bool:
        return index in self._held or index in self._spilled

    def __setitem__(self, index: int, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array, np.float32)
        if index in self:
            raise KeyError(f"frame {index} was written before")
        if self.held_bytes + array.nbytes <= self.limit_bytes:
            self._hold(index, array)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="coprop-")  # noqa: SIM115 - lives as long as the spool
        place = self._file.seek(0, 2)
        self._file.write(array.tobytes())
        self._spilled[index] = (place, array.shape)

    def _hold(self, index: int, array: np.ndarray) -> None:
        if self._block is None:
            self._block = np.empty(self.limit_bytes // 4, np.float32)
        start = self.held_bytes // 4
        held = self._block[start : start + array.size].reshape(array.shape)
        held[...] = array
        held.flags.writeable = False
        self._held[index] = held
        self.held_bytes += array.nbytes

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self._held:
            return self._held[index]
        place, shape = self._spilled[index]
        assert self._file is not None
        self._file.seek(place)
        count = int(np.prod(shape))
        return np.frombuffer(self._file.read(4 * count), np.float32, count).reshape(shape)

    @property
    def indices(self) -> list[int]:
        return sorted((*self._held, *self._spilled))
