"""Curves that stay equal over stretches of their places, each stretch kept once.

The sums of hard masks are such curves: at the lowest threshold everything is chosen, at all others the mask. Over
thousands of videos these curves are most of what a comparison holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np


class Curve:
    """Numbers of any shape that change at few places; it stands where an array would (``numpy.asarray``).

    Args:
        numbers: ``(U,)``, one of each stretch.
        starts: the U places, in the order of the flattened shape, at which the stretches begin; the first is 0.
        shape: of the whole.
    """

    __slots__ = ("_bytes", "_form")

    def __init__(self, numbers: np.ndarray, *, starts: tuple[int, ...], shape: tuple[int, ...]) -> None:
        # a scoring of thousands of videos holds tens of these for each: an array of its own would be three times as much
        self._bytes = numbers.astype(float).tobytes()
        self._form = _shared(starts, shape)

    @property
    def numbers(self) -> np.ndarray:
        return np.frombuffer(self._bytes)

    @property
    def starts(self) -> tuple[int, ...]:
        return self._form[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._form[1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numbers[_stretch_of(self.starts, math.prod(self.shape))].reshape(self.shape), dtype)


class Curves:
    """``(N, …)`` numbers: N curves that share their starts.

    Args:
        numbers: ``(N, U) float64``.
        starts, shape: of each (:class:`Curve`).
    """

    def __init__(self, numbers: np.ndarray, *, starts: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self.numbers, self.starts, self.shape = numbers, starts, shape

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """``(M, …)``: some rows, whole."""
        return self._whole(self.numbers[rows])

    def sum(self, axis: Literal[0] = 0) -> np.ndarray:
        """``(…)``: the sum over the rows, as numpy's of the whole."""
        return self._whole(self.numbers.sum(axis=axis)[None])[0]

    def exact_sum(self) -> np.ndarray:
        """``(…)``: the sum over the rows, the same whatever their order."""
        return self._whole(np.array([[math.fsum(column.tolist()) for column in self.numbers.T]]))[0]

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """``(B, …)``: the sums under ``weights (B, N)``."""
        return self._whole(weights @ self.numbers)

    def _whole(self, numbers: np.ndarray) -> np.ndarray:
        return numbers[:, _stretch_of(self.starts, math.prod(self.shape))].reshape(-1, *self.shape)


def compact(values: Sequence[Any]) -> Curve | np.ndarray:
    """Lists of numbers as an array, or as a curve where that takes at most half of the memory."""
    array = np.array(values)
    flat = array.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, int)
    if not flat.size or 2 * len(starts) > flat.size:
        return array
    return Curve(flat[starts], starts=tuple(starts.tolist()), shape=array.shape)


def column(values: Sequence[Any]) -> Curves | np.ndarray:
    """``(N, …) float64`` of N rows; as curves where all rows are, and change at few places altogether."""
    first = values[0]
    if all(isinstance(value, Curve) and value.shape == first.shape for value in values):
        starts = tuple(sorted(set().union(*{value.starts for value in values})))
        size = math.prod(first.shape)
        if 2 * len(starts) <= size:
            at = np.array(starts)
            numbers = np.array([value.numbers[_stretch_of(value.starts, size)[at]] for value in values], float)
            return Curves(numbers, starts=starts, shape=first.shape)
    return np.array([np.asarray(value) for value in values], float)


@lru_cache(maxsize=256)
def _stretch_of(starts: tuple[int, ...], size: int) -> np.ndarray:
    """``(size,)``: the stretch of each place."""
    return np.searchsorted(np.array(starts), np.arange(size), side="right") - 1


@lru_cache(maxsize=1024)
def _shared(starts: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """One form for all curves that change at the same places."""
    return starts, shape
