"""What a fusion policy is asked, and what it answers; and how frames are edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from ..errors import CoPropError
from ..propagators.base import Carried, PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment


@dataclass(frozen=True, eq=False)
class Plan:
    """What a policy decided for one clip: data alone. A policy adds what it needs in a subclass of its own.

    Attributes:
        segments: the clip's segments with their anchors.
        base: what the base model said.
        note: what was found, in words (empty: nothing worth telling).
        why: a line for every edit and every abstention, where the policy can tell.
        heard: object -> ``(T,)`` how probably it is heard by what the sound says alone, where an ear was asked and knows it.
    """

    segments: tuple[Segment, ...]
    base: Prediction
    note: str = ""
    why: tuple[str, ...] = ()
    heard: Mapping[str, np.ndarray] = field(default_factory=dict)


Decided = TypeVar("Decided", bound=Plan)
Edit = tuple[int, np.ndarray]  # a frame t and its new (K+1, H, W) float32 probabilities


class FusionPolicy(ABC, Generic[Decided]):
    """Which frames' masks are trusted, and how base and propagated masks become the refined prediction.

    Asked in this order: :meth:`plan`, :meth:`tasks`, :meth:`fuse`. A policy keeps nothing of a clip: all that one step
    hands to the next is in the plan, and in what a task is ``about``.

    Attributes:
        name: what users call it; set by ``@part``.
        needs_all_frames: the base model must have answered for every frame (else for the keyframes only).
    """

    name: str = "unnamed"
    needs_all_frames: bool = True

    @abstractmethod
    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> Decided:
        """What to do with a clip.

        Args:
            clip: frames, sound, time base.
            base: ``(T, K+1, H, W)``; without ``needs_all_frames`` its keyframes alone may be read.
            points: the control points, with confidence where the generator gives one.
            segments: the stretches between them, no anchor chosen yet; long ones are cut.
            propagator: what will carry masks; a policy may use it to follow objects.
        """

    @abstractmethod
    def tasks(self, plan: Decided) -> Iterable[PropagationTask]:
        """The propagations that the plan wants, made one after the other as they are taken."""

    @abstractmethod
    def fuse(self, plan: Decided, carried: Iterable[Carried]) -> Iterator[Edit]:
        """The frames that change, in ascending order; all others stay as the base model left them.

        Args:
            plan: what was decided.
            carried: each task with its ``(stop - start, K+1, H, W)`` masks, in the order of the tasks; read them one
                after the other.

        Yields:
            ``(t, (K+1, H, W) float32 probability)`` at the base prediction's size.
        """


def check_edit(edit: Edit, base: Prediction, *, by: str) -> Edit:
    """The edit, if the base prediction has such a frame and scores of this shape.

    Raises:
        CoPropError: it has not.
    """
    t, scores = edit
    wanted = (len(base.class_ids) + 1, *base.size)
    if not 0 <= t < base.num_frames or np.shape(scores) != wanted:
        raise CoPropError(
            f"the policy '{by}' changes frame {t} to an array {np.shape(scores)}; frames are 0 to {base.num_frames - 1}, "
            f"their scores {wanted}."
        )
    return edit


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
