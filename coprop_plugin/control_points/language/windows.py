"""Sounds longer than a model's window: overlapping windows of whole seconds, and their answers as one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import CoPropError


@dataclass(frozen=True)
class QuestionWindow:
    """Seconds ``[start, stop)`` are heard; of these, ``[own_start, own_stop)`` are taken from this window's answer."""

    start: int
    stop: int
    own_start: int
    own_stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def plan_windows(num_seconds: int, *, window_s: int, overlap_s: int) -> tuple[QuestionWindow, ...]:
    """Windows over ``num_seconds``, all of full length where there is more than one.

    Each second belongs to one window; of an overlap, the first half to the earlier one. A window's first value says
    nothing (it always is 1), so that the later one never owns its first second.

    Raises:
        CoPropError: the overlap is under 2 s, or not shorter than the window.
    """
    if num_seconds <= window_s:
        return (QuestionWindow(0, num_seconds, 0, num_seconds),)
    if not 2 <= overlap_s < window_s:
        raise CoPropError(
            f"windows of {window_s} s overlap by at least 2 s and less than their length, got {overlap_s}."
        )
    starts = [*range(0, num_seconds - window_s, window_s - overlap_s), num_seconds - window_s]
    seams = [0, *((later + earlier + window_s) // 2 for earlier, later in itertools.pairwise(starts)), num_seconds]
    return tuple(
        QuestionWindow(start, start + window_s, own_start, own_stop)
        for start, own_start, own_stop in zip(starts, seams, seams[1:], strict=False)
    )


def merge(windows: Sequence[QuestionWindow], answers: Sequence[np.ndarray]) -> np.ndarray:
    """``(num_seconds,)``: each second's value from the window that owns it; ``answers`` are ``(len(window),)`` each."""
    return np.concatenate(
        [values[w.own_start - w.start : w.own_stop - w.start] for w, values in zip(windows, answers, strict=True)]
    )
