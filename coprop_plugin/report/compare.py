"""What the refined masks changed, frame by frame, and the sentences that say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..masks.areas import class_areas, min_area_px
from ..masks.resize import nearest
from ..structures import ControlPoints, Prediction, TimeBase, change_flags
from .tables import seconds

FRAME_IOU_RULE = "plain frame IoU: mean over the classes in mask or truth; 1 where both are empty"


@dataclass(frozen=True)
class ClipComparison:
    """Per frame: how much changed, which classes are shown, and the overlap with the truth.

    Attributes:
        changed: ``(T,) float64``, share of the pixels whose label differs between base and refined.
        classes: every class id that has a pixel anywhere; first those that base or refined show, ascending.
        base_sets, refined_sets: the class ids that each frame shows.
        truth_sets: those of the truth, ``None`` without one.
        base_iou, refined_iou: ``(T,) float64`` by ``FRAME_IOU_RULE``, ``None`` without a truth, NaN where it is unknown.
    """

    changed: np.ndarray
    classes: tuple[int, ...]
    base_sets: tuple[frozenset[int], ...]
    refined_sets: tuple[frozenset[int], ...]
    truth_sets: tuple[frozenset[int], ...] | None = None
    base_iou: np.ndarray | None = None
    refined_iou: np.ndarray | None = None

    @property
    def shown(self) -> tuple[int, ...]:
        """The class ids that any frame of any of them shows, ascending."""
        return _shown(self.base_sets, self.refined_sets, self.truth_sets or ())


def compare(base: Prediction, refined: Prediction, *, truth: Prediction | None = None) -> ClipComparison:
    """Read every frame of the predictions once, one at a time."""
    changed, base_iou, refined_iou = [], [], []
    sets: dict[str, list[frozenset[int]]] = {"base": [], "refined": [], "truth": []}
    occurring: set[int] = set()
    for t in range(base.num_frames):
        before, after = (np.maximum(prediction.label_map(t), 0) for prediction in (base, refined))
        for role, labels in (("base", before), ("refined", after)):
            areas, least = class_areas(labels), min_area_px(labels.shape)
            sets[role].append(frozenset(c for c, area in areas.items() if area >= least))
            occurring |= areas.keys()
        changed.append(float((nearest(after, before.shape) != before).mean()))
        if truth is not None:
            labels = truth.label_map(t)
            sets["truth"].append(frozenset(class_areas(np.maximum(labels, 0))))
            base_iou.append(frame_iou(nearest(before, labels.shape), labels))
            refined_iou.append(frame_iou(nearest(after, labels.shape), labels))
            occurring |= sets["truth"][-1]
    shown = _shown(sets["base"], sets["refined"])
    return ClipComparison(
        changed=np.array(changed),
        classes=(*shown, *sorted(occurring.difference(shown))),
        base_sets=tuple(sets["base"]),
        refined_sets=tuple(sets["refined"]),
        truth_sets=None if truth is None else tuple(sets["truth"]),
        base_iou=None if truth is None else np.array(base_iou),
        refined_iou=None if truth is None else np.array(refined_iou),
    )


def _shown(*roles: Sequence[frozenset[int]]) -> tuple[int, ...]:
    return tuple(sorted({c for sets in roles for shown in sets for c in shown}))


def frame_iou(labels: np.ndarray, truth: np.ndarray) -> float:
    """``FRAME_IOU_RULE`` of two ``(H, W)`` label maps; pixels whose truth is -1 are left out; NaN if all are."""
    labels, truth = labels[truth >= 0], truth[truth >= 0]
    if not truth.size:
        return math.nan
    both, mask, target = (class_areas(x) for x in (labels[labels == truth], labels, truth))
    ious = [both.get(c, 0) / (mask.get(c, 0) + target.get(c, 0) - both.get(c, 0)) for c in mask.keys() | target.keys()]
    return math.fsum(ious) / len(ious) if ious else 1.0


def mean_iou(values: np.ndarray) -> float:
    """The mean over the frames whose truth is known, NaN without one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def changes(sets: Sequence[frozenset[int]]) -> tuple[int, ...]:
    """The frames after the first where the set of shown classes changes."""
    return tuple(int(t) for t in np.flatnonzero(change_flags(sets)) if t)


def headline(comparison: ClipComparison) -> str:
    """How many frames changed, as a sentence."""
    total = len(comparison.changed)
    count = int((comparison.changed > 0).sum())
    if not count:
        return f"None of the {total} frames changed: the refined masks equal the base masks."
    return f"{count} of {total} frames changed."


def explanation(comparison: ClipComparison, control_points: ControlPoints, time_base: TimeBase) -> tuple[str, ...]:
    """What the change means, in sentences computed from the data: timing first, then overlap with the truth."""
    points = set(control_points.frames[1:])
    before, now = changes(comparison.base_sets), changes(comparison.refined_sets)
    hits = len(points.intersection(now))
    what = "start, stop or change class" if len(comparison.shown) > 1 else "start or stop"
    if not now:
        timing = f"Masks now never {what} within the clip."
    elif hits == len(now):
        times = _listed([seconds(time_base.sound_window_s[t, 0]) for t in now])
        timing = f"Masks now {what} only at control points of the sound ({times})."
    else:
        timing = f"Of {_count(len(now), 'frame')} where masks now {what}, {hits} are control points of the sound."
    such = _count(len(before), "such change")
    past = (
        f"{len(points.intersection(before))} of {such} lay at control points" if before else "there was no such change"
    )
    sentences = [timing, f"Before, {past}."]
    if not now and not before:
        sentences = [f"Masks never {what} within the clip, neither before nor now."]
    if comparison.base_iou is not None and comparison.refined_iou is not None:
        old, new = (f"{100 * mean_iou(values):.1f}" for values in (comparison.base_iou, comparison.refined_iou))
        verb = "stays at" if old == new else f"{'rises' if float(new) > float(old) else 'falls'} from {old} to"
        sentences.append(
            f"Mean frame IoU with the truth {verb} {new} %." if new != "nan" else "No frame's truth is known."
        )
    return tuple(sentences)


def _listed(items: Sequence[str], at_most: int = 6) -> str:
    """``a, b and c``; long lists end in a count."""
    if len(items) > at_most:
        return f"{', '.join(items[:at_most])} and {len(items) - at_most} more"
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
