"""What a fusion policy plans, and how frames are edited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment


@dataclass(frozen=True)
class Plan:
    """What to propagate and what to make of it.

    Attributes:
        segments: the clip's segments with their anchors.
        tasks: makes the propagation tasks, one after the other.
        fuse: takes the propagated masks in the order of the tasks; yields ``(t, (K+1, H, W) probability)`` for
            the frames that change, in ascending order of t. All other frames stay as the base model left them.
        note: what was found, in words (empty: nothing worth telling).
    """

    segments: tuple[Segment, ...]
    tasks: Callable[[], Iterable[PropagationTask]]
    fuse: Callable[[Iterator[np.ndarray]], Iterator[tuple[int, np.ndarray]]]
    note: str = ""


class FusionPolicy(Protocol):
    """Decides which frames' masks are trusted, and how base and propagated masks become the refined prediction.

    ``needs_all_frames``: the base model must have answered for every frame (else for the keyframes only).
    """

    name: str
    needs_all_frames: bool

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> Plan: ...


def erase(scores: np.ndarray, channel: int, mask: np.ndarray) -> np.ndarray:
    """``scores (K+1, H, W)`` with an object's probability ``mask (H, W)`` given back to the background."""
    scores = scores.copy()
    gone = np.minimum(mask, scores[channel])
    scores[channel] -= gone
    scores[0] = np.minimum(scores[0] + gone, 1.0)  # probabilities kept in half precision add up to a little more
    return scores


def add(scores: np.ndarray, objects: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    """``scores (K+1, H, W)`` with objects ``(channel, (H, W) probability)`` put where the background was.

    An object takes its share of the background's probability only, so that what the base model does show keeps
    its shape; several new objects share a pixel in proportion.
    """
    if not objects:
        return scores
    scores = scores.copy()
    share = scores[0] / np.maximum(np.sum([mask for _, mask in objects], axis=0), 1.0)
    for channel, mask in objects:
        scores[channel] += mask * share
        scores[0] -= mask * share
    return scores
