"""Frames that are read one at a time: the array protocol over memory, disk or a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import CoPropError


@runtime_checkable
class Frames(Protocol):
    """``(T, ...)``: anything with a shape and a length whose items are one frame each (a numpy array is one)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class FrameStack:
    """``T`` arrays of one shape, made by ``read(t)`` when asked for and never all held.

    Indexing with an integer gives one frame, read-only (it may be held by whoever reads it), with a slice a stacked
    array; ``np.asarray(stack)`` reads everything (the caller asked for it).

    Args:
        read: ``t -> array of shape frame_shape``; called with ``0 <= t < num_frames``.
        num_frames: T.
        frame_shape: shape of one frame.
        dtype: of one frame.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray], *, num_frames: int, frame_shape: tuple[int, ...], dtype: Any
    ) -> None:
        self._read = read
        self.shape = (num_frames, *frame_shape)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice) -> np.ndarray:
        if isinstance(index, slice):
            frames = [self[t] for t in range(*index.indices(len(self)))]
            return np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)
        t = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= t < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        frame = self._read(t)
        if frame.shape != self.shape[1:]:
            raise CoPropError(f"frame {t} has the shape {frame.shape}, the frames before it {self.shape[1:]}.")
        frame = frame.view()
        frame.flags.writeable = False
        return frame

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[t] for t in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
