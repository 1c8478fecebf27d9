"""The default policy: read from the whole clip which objects sound, and edit only the frames that disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..masks.probability import probabilities
from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment
from .base import Plan, add, erase
from .objects import Objects, objects_of
from .states import FITTED, Costs, Reading, read_states


@dataclass(frozen=True)
class _Gap:
    """Frames ``[start, stop)`` in which an object sounds, though the base model shows it only at ``anchor``."""

    object: int
    anchor: int
    start: int
    stop: int


class Consensus:
    """Vote over segments which objects sound, then erase what does not and bring back what does.

    The base model's answers and the control points are read together (:mod:`coprop_plugin.fusion.states`): a model
    that is late in one segment is late in the others, and one that flickers is outvoted. An object that should be
    there is carried over from the nearest frame in which the base model shows it, forwards or backwards and across
    control points; one that should not be there is erased; where the base model agrees its masks stay as they are. A frame in which the base model shows
    something is never emptied unless the sound is silent there.

    Args:
        max_shift_s: largest lateness or earliness of the base model that is considered.
        costs: the prices of the explanations, or some of them by name.
    """

    name = "consensus"
    needs_all_frames = True

    def __init__(self, *, max_shift_s: float = 3.0, costs: Costs | Mapping[str, float] = FITTED) -> None:
        self.max_shift_s = max_shift_s
        self.costs = costs if isinstance(costs, Costs) else Costs(**costs)

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> Plan:
        objects = objects_of(clip, base, propagator)
        silent = np.zeros(clip.num_frames, bool)
        for segment in segments:
            silent[segment.start : segment.stop] = bool(segment.silent)
        reading = read_states(
            objects.present,
            points.flags,
            confidence=points.confidence,
            silent=silent,
            max_shift_frames=max(1, round(self.max_shift_s * float(clip.time_base.sampling.rate_hz))),
            costs=self.costs,
        )
        reading = replace(reading, sounding=_never_emptied(objects.present, reading.sounding, silent))
        gaps = list(_gaps(objects.present, reading.sounding))
        anchors = sorted({gap.anchor for gap in gaps})
        of = {anchor: [gap for gap in gaps if gap.anchor == anchor] for anchor in anchors}

        def tasks() -> Iterable[PropagationTask]:
            for anchor in anchors:
                own = of[anchor]
                masks = np.stack([objects.mask(anchor, gap.object) for gap in own])
                background = (1 - masks.sum(axis=0, keepdims=True)).clip(0, 1)
                start, stop = min(anchor, *(gap.start for gap in own)), max(anchor + 1, *(gap.stop for gap in own))
                yield PropagationTask(start, stop, anchor, np.concatenate([background, masks]))

        def fuse(propagated: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
            brought: dict[int, dict[int, np.ndarray]] = {}
            frame = 0
            for anchor, masks in zip(anchors, propagated, strict=True):
                start = min(anchor, *(gap.start for gap in of[anchor]))
                for k, gap in enumerate(of[anchor]):
                    for t in range(gap.start, gap.stop):
                        brought.setdefault(t, {})[gap.object] = masks[t - start, k + 1]
                later = [gap.start for gap in gaps if gap.anchor > anchor]
                ready = min(later) if later else clip.num_frames
                yield from _edit(base, objects, reading, brought, range(frame, ready))
                frame = max(frame, ready)
            yield from _edit(base, objects, reading, brought, range(frame, clip.num_frames))

        return Plan(_anchored(segments, objects.present, reading.sounding), tasks, fuse, _note(reading))


def _never_emptied(present: np.ndarray, sounding: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """``sounding (T, C)``, but a frame that is not silent and shows something keeps what it shows rather than nothing."""
    emptied = present.any(axis=1) & ~sounding.any(axis=1) & ~silent
    return np.where(emptied[:, None], present, sounding)


def _gaps(present: np.ndarray, sounding: np.ndarray) -> Iterator[_Gap]:
    """For every missing object and frame the nearest frame that shows it, as runs."""
    for c in range(present.shape[1]):
        shown = np.flatnonzero(present[:, c])
        missing = np.flatnonzero(sounding[:, c] & ~present[:, c])
        if not len(shown) or not len(missing):
            continue
        nearest = [int(shown[np.abs(shown - t).argmin()]) for t in missing]
        run: list[int] = []
        for t, anchor, following in zip(missing.tolist(), nearest, [*nearest[1:], -1], strict=True):
            run.append(t)
            if following != anchor or t + 1 not in missing:
                yield _Gap(c, anchor, run[0], run[-1] + 1)
                run = []


def _edit(
    base: Prediction, objects: Objects, reading: Reading, brought: dict[int, dict[int, np.ndarray]], frames: range
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a range that change, edited."""
    for t in frames:
        unwanted = np.flatnonzero(objects.present[t] & ~reading.sounding[t]).tolist()
        wanted = brought.pop(t, {})
        if not unwanted and not wanted:
            continue
        scores = probabilities(base, t)
        for c in unwanted:
            scores = erase(scores, objects.channel(c), objects.mask(t, c))
        yield t, add(scores, [(objects.channel(c), mask) for c, mask in wanted.items()])


def _anchored(segments: tuple[Segment, ...], present: np.ndarray, sounding: np.ndarray) -> tuple[Segment, ...]:
    """Each segment with its first frame in which the base model shows what sounds, else its keyframe."""
    agrees = (present == sounding).all(axis=1)
    return tuple(
        replace(segment, anchor=segment.start + int(agrees[segment.start : segment.stop].argmax()))
        for segment in segments
    )


def _note(reading: Reading) -> str:
    """What the reading found, in words."""

    def late(frames: int) -> str:
        return (
            "on time"
            if not frames
            else f"{abs(frames)} frame{'s'[: abs(frames) > 1]} {'late' if frames > 0 else 'early'}"
        )

    if not reading.onset_shift and not reading.offset_shift:
        return ""
    return f"the base model's masks start {late(reading.onset_shift)} and stop {late(reading.offset_shift)}"
