"""The default policy: read from the whole clip which objects sound, and edit only the frames that disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CoPropError
from ..language.answers import AnswerSource
from ..masks.probability import probabilities
from ..parts import part
from ..propagators.base import Carried, PropagationTask, Propagator
from ..structures import Clip, ControlPoints, Prediction, Segment
from .base import Edit, FusionPolicy, Plan, add, erase
from .beliefs import FITTED, Beliefs
from .decide import Verdict, decide
from .evidence import Hearing, witness
from .mixed import mixed_frames
from .objects import Objects, follower_of, objects_of
from .states import Heard, Reading, read_states
from .trust import trust_in
from .why import explain, shift_words

MAX_SHIFT_S = 3600.0
SAME_PLACE = 0.5  # IoU from which what is erased and what is brought back are one thing


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
        reading: who sounds when, how probably.
        verdict: what is done about it.
        gaps: what must be brought back; the frames from which it is brought are the anchors.
    """

    objects: Objects = field(kw_only=True)
    reading: Reading = field(kw_only=True)
    verdict: Verdict = field(kw_only=True)
    gaps: tuple[_Gap, ...] = field(kw_only=True)

    def anchored_at(self) -> dict[int, tuple[_Gap, ...]]:
        """Anchor -> the gaps filled from it, anchors in order."""
        anchors = sorted({gap.anchor for gap in self.gaps})
        return {anchor: tuple(gap for gap in self.gaps if gap.anchor == anchor) for anchor in anchors}


@part("fusion", "consensus")
class Consensus(FusionPolicy[ConsensusPlan]):
    """Find out from the whole clip who sounds, erase what does not and bring back what does; leave the rest.

    The base model's answers and the control points are weighed together (:mod:`coprop_plugin.fusion.states`): a model
    that is late in one segment is late in the others, and one that flickers is outvoted. Control points count as far
    as their generator was measured (:mod:`coprop_plugin.fusion.trust`); those of a file or a person are facts. An
    edit is made only where the base model is wrong with a probability of at least ``1 - max_harm``. An object that
    should be there is carried over from the nearest frame in which the base model shows it, forwards or backwards and
    across control points; one that should not be there is erased; everything else stays as it is. A frame in which
    the base model shows something is never emptied unless the sound surely is silent there.

    Args:
        max_harm: the largest probability with which an edit may be wrong; 0 changes nothing, 0.5 does what is likelier.
        max_shift_s: largest lateness or earliness of the base model that is considered.
        beliefs: what is held of models and control points beforehand, or some of it by name.
        evidence: who hears what sounds, and is asked about every object whose class it knows: ``yamnet`` (an installed
            package), or an object with ``tags(clip)``; ``off`` asks nobody.
        look: ask about the objects of binary masks too, told by their pictures (an installed package of ImageNet's classes).
        candidates: ask about what was said of a video alone: a JSON file ``{video: [A1, A2]}``, as ``coprop annotate
            prompts`` writes it, of which A2's nouns are taken; or the mapping, or a source.
        motion: nats that a frame may say for an object that moves more than it mostly does, and against it where it moves
            less; 0 does not ask, 1 is the most. A stated weight: nothing at hand can fit it.

    Raises:
        CoPropError: an option out of its range, a belief that there is not, an ear that is not installed, or candidates
            that cannot be read or that nobody is asked about.
    """

    def __init__(
        self,
        *,
        max_harm: float = 0.1,
        max_shift_s: float = 3.0,
        beliefs: Beliefs | Mapping[str, float] = FITTED,
        evidence: str | Hearing = "off",
        look: bool = False,
        candidates: AnswerSource | Mapping[str, Any] | str | Path | None = None,
        motion: float = 0.0,
    ) -> None:
        if not 0 <= max_harm <= 0.5:
            raise CoPropError(f"consensus takes max_harm from 0 (never edit) to 0.5, got {max_harm}.")
        if not 0 <= max_shift_s <= MAX_SHIFT_S:
            raise CoPropError(f"consensus takes max_shift_s from 0 to {MAX_SHIFT_S:g} seconds, got {max_shift_s}.")
        self.max_harm, self.max_shift_s = max_harm, max_shift_s
        self.beliefs = beliefs if isinstance(beliefs, Beliefs) else Beliefs.named(beliefs)
        self._witness = witness(evidence, look=look, candidates=candidates, motion=motion)

    def plan(
        self, clip: Clip, base: Prediction, points: ControlPoints, segments: tuple[Segment, ...], propagator: Propagator
    ) -> ConsensusPlan:
        objects = objects_of(clip, base, propagator)
        heard, evidence = heard_of(points), None
        if self._witness is not None:
            evidence = self._witness.ask(clip, base, objects)
            heard = replace(heard, ratio=evidence.total, by_ear=evidence.known)
        reading = read_states(
            objects.present,
            heard,
            max_shift_frames=max(1, round(self.max_shift_s * float(clip.time_base.sampling.rate_hz))),
            beliefs=self.beliefs,
        )
        verdict = decide(objects.present, reading.sounding, heard.silence, max_harm=self.max_harm)
        if not base.binary:
            verdict = _unmixed(clip, objects, verdict, propagator)
        return ConsensusPlan(
            _anchored(segments, objects.present, verdict.sounding),
            base,
            "; ".join(filter(None, (_note(reading), evidence.note if evidence else ""))),
            explain(
                objects.present,
                [objects.name(c) for c in range(objects.present.shape[1])],
                heard,
                reading,
                verdict,
                max_harm=self.max_harm,
                evidence=evidence,
            ),
            {} if evidence is None else evidence.chances([objects.name(c) for c in range(objects.present.shape[1])]),
            objects=objects,
            reading=reading,
            verdict=verdict,
            gaps=tuple(_gaps(objects.present, verdict.sounding)),
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


def _unmixed(clip: Clip, objects: Objects, verdict: Verdict, propagator: Propagator) -> Verdict:
    """The verdict with every frame left as it is in which classes are exchanged."""
    gaps = tuple(_gaps(objects.present, verdict.sounding))
    mixed = mixed_frames(clip, objects, verdict.sounding, gaps, follower_of(propagator))
    return replace(verdict, sounding=np.where(mixed[:, None], objects.present, verdict.sounding), mixed=mixed)


def heard_of(points: ControlPoints) -> Heard:
    """What control points say of every frame, as probabilities, as far as who gave them is trusted."""
    trust = trust_in(points)
    return Heard(points.flags, trust.change(points), trust.silence(points), may_be_late=trust.may_be_late)


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
        unwanted = np.flatnonzero(objects.present[t] & ~plan.verdict.sounding[t]).tolist()
        wanted = brought.pop(t, {})
        if not unwanted and not wanted:
            continue
        scores = probabilities(plan.base, t)
        erased = [objects.mask(t, c) for c in unwanted]
        for c, mask in zip(unwanted, erased, strict=True):
            scores = erase(scores, objects.channel(c), mask)
        yield t, add(scores, [(objects.channel(c), _own_shape(mask, erased)) for c, mask in wanted.items()])


def _own_shape(mask: np.ndarray, erased: Sequence[np.ndarray]) -> np.ndarray:
    """The mask of an object that is brought back, ``(H, W)``; where the base model took it for another one, its own shape.

    What is erased at the same place in the same frame is the same thing under a wrong name: the base model drew it from
    this very frame, better than it can be carried there.
    """
    here = mask > 0.5
    for other in erased:
        there = other > 0.5
        if (here & there).sum() >= SAME_PLACE * (here | there).sum() > 0:
            return other
    return mask


def _anchored(segments: tuple[Segment, ...], present: np.ndarray, sounding: np.ndarray) -> tuple[Segment, ...]:
    """Each segment with its first frame in which the base model shows what sounds, else its keyframe."""
    agrees = (present == sounding).all(axis=1)
    return tuple(
        replace(segment, anchor=segment.start + int(agrees[segment.start : segment.stop].argmax()))
        for segment in segments
    )


def _note(reading: Reading) -> str:
    """What the reading found, in words."""
    if not (reading.onset_shift or reading.offset_shift) or reading.shift_probability < 0.5:
        return ""
    return f"the base model's masks {shift_words(reading)} ({reading.shift_probability:.2f} sure)"
