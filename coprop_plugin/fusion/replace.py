"""The paper's policy: anchor at the keyframe, replace the rest (section 3.1, figure 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from ..masks.probability import probabilities
from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment
from .base import Plan


class Replace:
    """Each segment's first frame keeps the base model's mask; the propagator's masks replace the others.

    Objects are the classes present in the keyframe's mask. An empty keyframe mask makes the whole segment empty
    (the literal reading of equation 3), unless ``empty="base"`` leaves the base model's masks there.
    """

    name = "replace"
    needs_all_frames = False

    def __init__(self, *, empty: str = "propagate") -> None:
        if empty not in ("propagate", "base"):
            raise ValueError(f"empty is 'propagate' (the paper) or 'base', got '{empty}'")
        self.empty = empty

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> Plan:
        anchored = tuple(replace(segment, anchor=segment.keyframe) for segment in segments)
        pending: list[tuple[Segment, np.ndarray]] = []

        def tasks() -> Iterable[PropagationTask]:
            for segment in anchored:
                scores = probabilities(base, segment.keyframe)
                channels = np.array([0, *present_channels(scores)])
                if len(channels) == 1:
                    channels = np.array([0, 1])  # an empty mask is propagated as such
                pending.append((segment, channels))
                yield PropagationTask(
                    segment.start, segment.stop, segment.keyframe, scores[channels], categories=segment.categories
                )

        def fuse(propagated: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
            for masks in propagated:
                segment, channels = pending.pop(0)
                nothing = not (masks[0, 1:] > masks[0, :1]).any()
                if nothing and self.empty == "base":
                    continue
                for t in range(segment.start + 1, segment.stop):
                    scores = np.zeros((len(base.class_ids) + 1, *masks.shape[2:]), np.float32)
                    scores[channels] = masks[t - segment.start]
                    yield t, scores

        return Plan(anchored, tasks, fuse)


def present_channels(scores: np.ndarray) -> list[int]:
    """The foreground channels that win at least one pixel of ``(K+1, H, W)`` scores."""
    winners = np.unique(scores.argmax(axis=0))
    return winners[winners > 0].tolist()
