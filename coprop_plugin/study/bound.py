"""How much a policy could recover at best, if it only looked inside each segment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..datasets.scene import Scene
from ..structures import Prediction, Segment

SHOWN_SHARE = 0.5  # of an object's visible pixels: so many must carry its class for the object to be shown


def objects_shown(prediction: Prediction, scene: Scene) -> np.ndarray:
    """``(T, O) bool``: which of a scene's objects a prediction segments, by the share of its pixels it covers."""
    ids = list(scene.object_class)
    shown = np.zeros((prediction.num_frames, len(ids)), bool)
    for t in range(prediction.num_frames):
        labels, instances = prediction.label_map(t), np.asarray(scene.instances[t])
        for o, object_id in enumerate(ids):
            own = labels[instances == object_id]
            shown[t, o] = len(own) > 0 and (own == scene.label_of(object_id)).mean() >= SHOWN_SHARE
    return shown


def within_segment_bound(
    shown: Sequence[np.ndarray], sounding: Sequence[np.ndarray], segments: Sequence[Sequence[Segment]]
) -> list[float]:
    """The alignment of each clip under the best rule that sees an object's answers inside one segment only.

    A rule maps the answers of the base model for one object in one segment (``yes no no``), and whether the segment
    is known to be silent, to "sounds" or not. The best one is taken in hindsight, over all clips of one simulator: no rule of this kind can do better on them,
    as the truth is constant inside a segment. A frame is aligned when every object of the clip is decided rightly.

    Args:
        shown: per clip ``(T, O) bool``, what the base model shows.
        sounding: per clip ``(T, O) bool``, the truth.
        segments: per clip, the true segments.
    """
    votes: dict[tuple[object, ...], Counter[bool]] = defaultdict(Counter)
    for seen, truth, cut in zip(shown, sounding, segments, strict=True):
        for segment in cut:
            for o in range(seen.shape[1]):
                votes[_answers(seen, segment, o)][bool(truth[segment.start, o])] += len(segment)
    rule = {answers: count[True] > count[False] for answers, count in votes.items()}
    bounds = []
    for seen, truth, cut in zip(shown, sounding, segments, strict=True):
        aligned = sum(
            len(segment)
            for segment in cut
            if all(rule[_answers(seen, segment, o)] == truth[segment.start, o] for o in range(seen.shape[1]))
        )
        bounds.append(aligned / len(seen))
    return bounds


def _answers(seen: np.ndarray, segment: Segment, o: int) -> tuple[object, ...]:
    return segment.silent, *seen[segment.start : segment.stop, o].tolist()
