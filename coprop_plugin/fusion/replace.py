"""The paper's policy: anchor at the keyframe, replace the rest (section 3.1, figure 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from ..errors import unknown_name
from ..masks.probability import probabilities
from ..parts import part
from ..propagators.base import Carried, PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment
from .base import Edit, FusionPolicy, Plan


@part("fusion", "replace")
class Replace(FusionPolicy[Plan]):
    """Each segment's first frame keeps the base model's mask; the propagator's masks replace the others (the paper's).

    Objects are the classes present in the keyframe's mask. An empty keyframe mask makes the whole segment empty
    (the literal reading of equation 3), unless ``empty="base"`` leaves the base model's masks there.

    Args:
        empty: what an empty keyframe mask does: ``propagate`` (the paper) or ``base``.

    Raises:
        CoPropError: another ``empty``.
    """

    needs_all_frames = False

    def __init__(self, *, empty: Literal["propagate", "base"] = "propagate") -> None:
        if empty not in ("propagate", "base"):
            raise unknown_name("empty= of replace", empty, ("propagate", "base"))
        self.empty = empty

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> Plan:
        return Plan(tuple(replace(segment, anchor=segment.keyframe) for segment in segments), base)

    def tasks(self, plan: Plan) -> Iterator[PropagationTask]:
        """One a segment, about the score channels that it carries."""
        for segment in plan.segments:
            scores = probabilities(plan.base, segment.keyframe)
            channels = [0, *present_channels(scores)]
            if len(channels) == 1:
                channels = [0, 1]  # an empty mask is propagated as such
            yield PropagationTask(
                segment.start,
                segment.stop,
                segment.keyframe,
                scores[channels],
                categories=segment.categories,
                about=tuple(channels),
            )

    def fuse(self, plan: Plan, carried: Iterable[Carried]) -> Iterator[Edit]:
        for task, masks in carried:
            nothing = not (masks[0, 1:] > masks[0, :1]).any()
            if nothing and self.empty == "base":
                continue
            for t in range(task.start + 1, task.stop):
                scores = np.zeros((len(plan.base.class_ids) + 1, *masks.shape[2:]), np.float32)
                scores[list(task.about)] = masks[t - task.start]
                yield t, scores


def present_channels(scores: np.ndarray) -> list[int]:
    """The foreground channels that win at least one pixel of ``(K+1, H, W)`` scores."""
    winners = np.unique(scores.argmax(axis=0))
    return winners[winners > 0].tolist()
