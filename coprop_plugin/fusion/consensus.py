"""The default policy: read from the whole clip which objects sound, and edit only the frames that disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import CoPropError
from ..masks.probability import probabilities
from ..parts import part
from ..propagators.base import Carried, PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment
from .base import Edit, FusionPolicy, Plan, add, erase
from .objects import Objects, objects_of
from .states import FITTED, Costs, Reading, read_states

MAX_SHIFT_S = 3600.0


@dataclass(frozen=True)
class _Gap:
    """Frames ``[start, stop)`` in which an object sounds, though the base model shows it only at ``anchor``."""

    object: int
    anchor: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class ConsensusPlan(Plan):
    """What the reading of a clip decided.

    Attributes:
        objects: who is shown where.
        reading: who sounds when.
        gaps: what must be brought back; the frames from which it is brought are the anchors.
    """

    objects: Objects = field(kw_only=True)
    reading: Reading = field(kw_only=True)
    gaps: tuple[_Gap, ...] = field(kw_only=True)

    def anchored_at(self) -> dict[int, tuple[_Gap, ...]]:
        """Anchor -> the gaps filled from it, anchors in order."""
        anchors = sorted({gap.anchor for gap in self.gaps})
        return {anchor: tuple(gap for gap in self.gaps if gap.anchor == anchor) for anchor in anchors}


@part("fusion", "consensus")
class Consensus(FusionPolicy[ConsensusPlan]):
    """Vote over segments which objects sound, then erase what does not and bring back what does.

    The base model's answers and the control points are read together (:mod:`coprop_plugin.fusion.states`): a model
    that is late in one segment is late in the others, and one that flickers is outvoted. An object that should be
    there is carried over from the nearest frame in which the base model shows it, forwards or backwards and across
    control points; one that should not be there is erased; where the base model agrees its masks stay as they are. A
    frame in which the base model shows something is never emptied unless the sound is silent there.

    Args:
        max_shift_s: largest lateness or earliness of the base model that is considered.
        costs: the prices of the explanations, or some of them by name.

    Raises:
        CoPropError: a negative ``max_shift_s``, or a price that there is not or that is negative.
    """

    def __init__(self, *, max_shift_s: float = 3.0, costs: Costs | Mapping[str, float] = FITTED) -> None:
        if not 0 <= max_shift_s <= MAX_SHIFT_S:
            raise CoPropError(f"consensus takes max_shift_s from 0 to {MAX_SHIFT_S:g} seconds, got {max_shift_s}.")
        self.max_shift_s = max_shift_s
        self.costs = costs if isinstance(costs, Costs) else Costs.named(costs)

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> ConsensusPlan:
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
        return ConsensusPlan(
            _anchored(segments, objects.present, reading.sounding),
            base,
            _note(reading),
            objects=objects,
            reading=reading,
            gaps=tuple(_gaps(objects.present, reading.sounding)),
        )

    def tasks(self, plan: ConsensusPlan) -> Iterator[PropagationTask]:
        """One an anchor, about the gaps that it fills."""
        for anchor, gaps in plan.anchored_at().items():
            masks = np.stack([plan.objects.mask(anchor, gap.object) for gap in gaps])
            background = (1 - masks.sum(axis=0, keepdims=True)).clip(0, 1)
            start, stop = min(anchor, *(gap.start for gap in gaps)), max(anchor + 1, *(gap.stop for gap in gaps))
            yield PropagationTask(start, stop, anchor, np.concatenate([background, masks]), about=gaps)

    def fuse(self, plan: ConsensusPlan, carried: Iterable[Carried]) -> Iterator[Edit]:
        brought: dict[int, dict[int, np.ndarray]] = {}
        frame = 0
        for task, masks in carried:
            for k, gap in enumerate(task.about):
                for t in range(gap.start, gap.stop):
                    brought.setdefault(t, {})[gap.object] = masks[t - task.start, k + 1]
            later = [gap.start for gap in plan.gaps if gap.anchor > task.anchor]
            ready = min(later, default=plan.base.num_frames)
            yield from _edit(plan, brought, range(frame, ready))
            frame = max(frame, ready)
        yield from _edit(plan, brought, range(frame, plan.base.num_frames))


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


def _edit(plan: ConsensusPlan, brought: dict[int, dict[int, np.ndarray]], frames: range) -> Iterator[Edit]:
    """The frames of a range that change, edited."""
    objects = plan.objects
    for t in frames:
        unwanted = np.flatnonzero(objects.present[t] & ~plan.reading.sounding[t]).tolist()
        wanted = brought.pop(t, {})
        if not unwanted and not wanted:
            continue
        scores = probabilities(plan.base, t)
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
