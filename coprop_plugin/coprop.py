"""Co-Prop on one page: control points from the sound, key masks from the base model, propagation in between.

The method of the paper (arXiv 2412.08161, section 3; figure 4 for the plug-in mode):

    [c_1 … c_T] = RCPG(A, x)                              Eq. (1)  control points
    M_key       = KeyPro(V_key, A_key)                    Eq. (2)  masks of the keyframes, here the base model's
    M_normal    = AudioProp(M_key, V_normal, A_normal)    Eq. (3)  masks of the frames in between
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from . import parts
from .adapters.base import Adapter, check_count, check_sides
from .audio.level import NOTHING_DBFS, level_of
from .control_points.base import ControlPointGenerator, check_points
from .control_points.fixed import Given
from .errors import CoPropError, unknown_name
from .fusion.base import FusionPolicy, check_edit
from .masks.probability import probabilities
from .propagators.base import Propagator
from .structures import Clip, ControlPoints, FrameSpool, FrameStack, Prediction, Result, Segment

KEYFRAMES_AT_ONCE = 16  # asked of a base model in one call; beyond 256 MB their scores lie in a temporary file
Mode = Literal["clip", "frame"]
MAX_SEGMENT_FRAMES = 512  # one steady hour is one segment to the ear; it is propagated in pieces of this length


class CoProp:
    """Mend the masks of an audio-visual segmentation model so that they follow the sound.

    Args:
        control_points: the generator: a name (``coprop_plugin.parts``), a dict with options, or an object; or the
            control points themselves.
        propagator: likewise.
        fusion: likewise; ``consensus`` (the default) reads from all segments which objects sound and edits only
            frames that disagree, ``replace`` is the paper's.
        max_segment_frames: longer segments are cut, so that memory stays bounded.
    """

    def __init__(
        self,
        *,
        control_points: Any = "boundary",
        propagator: Any = "flow",
        fusion: Any = "consensus",
        max_segment_frames: int = MAX_SEGMENT_FRAMES,
    ) -> None:
        if isinstance(control_points, ControlPoints):
            control_points = Given(control_points)
        self.control_points: ControlPointGenerator = parts.build("control_points", control_points)
        self.propagator: Propagator = parts.build("propagator", propagator)
        self.fusion: FusionPolicy[Any] = parts.build("fusion", fusion)
        self.max_segment_frames = max_segment_frames

    @classmethod
    def paper(cls, **options: Any) -> CoProp:
        """The paper's policy: anchor at each segment's first frame, replace the others."""
        return cls(**{"fusion": "replace", **options})

    def __call__(self, clip: Clip, base: Prediction | Adapter, *, mode: Mode = "clip") -> Result:
        """Refine the base model's prediction of one clip.

        Args:
            clip: frames, sound, time base.
            base: its prediction, or an adapter, which is run here.
            mode: how an adapter is run: over the whole clip, or (the paper's use) at the keyframes alone.

        Raises:
            CoPropError: ``base`` or ``mode`` is something else, or a part needs what this mode does not give.
            PredictionError: the prediction has not the clip's number of frames, holds NaN, or lies on its side.
        """
        asked: tuple[int, ...] | None = None
        known = self._base_of(clip, base, mode)
        points = check_points(self.control_points(clip, base=known), clip, by=self.control_points.name)  # Eq. (1)
        segments = points.segments(max_segment_frames=self.max_segment_frames)
        if known is None:
            assert isinstance(base, Adapter)
            known = self._keyframes_only(clip, base, segments)
            asked = tuple(segment.keyframe for segment in segments)
        shape = check_sides(known, clip)
        plan = self.fusion.plan(clip, known, points, segments, self.propagator)  # Eq. (2)
        carried = self.propagator.carry(clip, self.fusion.tasks(plan))  # Eq. (3)
        edits = FrameSpool()
        for edit in self.fusion.fuse(plan, carried):
            t, scores = check_edit(edit, known, by=self.fusion.name)
            edits[t] = scores
        heard = (level_of(clip.sound).note, _all_silent(points, clip, edits), plan.note)
        notes = (*clip.notes, *known.notes, *points.origin.notes, *shape, *filter(None, heard))
        changed = tuple(edits.indices)
        return Result(
            edited(known, edits), points, plan.segments, known, changed, notes, clip, asked, plan.why, plan.heard
        )

    def _base_of(self, clip: Clip, base: Any, mode: str) -> Prediction | None:
        """The base prediction; ``None`` where an adapter shall be run at keyframes that are not yet known."""
        if mode not in get_args(Mode):
            raise unknown_name("mode", mode, get_args(Mode))
        if isinstance(base, Prediction):
            return check_count(base, clip)
        if not isinstance(base, Adapter):
            raise CoPropError(f"the base is a Prediction or an Adapter, got {type(base).__name__}. {_advice(base)}")
        if mode == "clip":
            return check_count(base.predict(clip), clip)
        for part, asks in (
            (self.fusion, self.fusion.needs_all_frames),
            (self.control_points, self.control_points.wants_base),
        ):
            if asks:
                raise CoPropError(
                    f"'{part.name}' looks at the base model's answers of all frames; run the adapter with mode='clip', "
                    "or take the policy 'replace' (CoProp.paper) and a generator that listens alone."
                )
        return None

    def _keyframes_only(self, clip: Clip, adapter: Adapter, segments: tuple[Segment, ...]) -> Prediction:
        """The paper's use of a base model: one run per keyframe, nothing for the frames in between."""
        scores = FrameSpool()
        keyframes = [segment.keyframe for segment in segments]
        for start in range(0, len(keyframes), KEYFRAMES_AT_ONCE):
            for t, answer in adapter.predict_frames(clip, keyframes[start : start + KEYFRAMES_AT_ONCE]).items():
                scores[t] = answer

        def read(t: int) -> np.ndarray:
            if t not in scores:
                raise CoPropError(f"frame {t} is no keyframe: with mode='frame' the base model was not run there.")
            return scores[t]

        stack = FrameStack(read, num_frames=clip.num_frames, frame_shape=scores[keyframes[0]].shape, dtype=np.float32)
        kind = adapter.kind or "probability"
        source, notes = f"{adapter.name} at keyframes", adapter.notes_of(clip)
        return Prediction(scores=stack, kind=kind, class_ids=adapter.class_ids, source=source, notes=notes)


def _all_silent(points: ControlPoints, clip: Clip, edits: FrameSpool) -> str | None:
    """A clip in which nothing is heard at all: what that did, and how sure it is."""
    if not points.silent or not all(points.silent):
        return None
    loudest_dbfs = level_of(clip.sound).loudest_dbfs
    heard = "only zeros" if loudest_dbfs < NOTHING_DBFS else f"nothing above a steady {loudest_dbfs:.0f} dBFS"
    done = f"the masks of {len(edits.indices)} frames were edited for that" if edits.indices else "no mask was edited"
    return (
        f"the whole clip is taken for silent ({heard}, by {points.origin.generator}); {done}. If it does sound, give "
        "its sound with audio=FILE, or control points that do not say silent"
    )


def _advice(base: object) -> str:
    """How to make a base of something else."""
    if callable(base):
        return "Wrap a function clip -> array: build_adapter('callable', function=…, kind=…)."
    return "Read saved masks, or an array (T, H, W) or (T, K+1, H, W): read_prediction(…, clip=clip)."


def edited(base: Prediction, edits: FrameSpool) -> Prediction:
    """The base prediction as probabilities, with some frames replaced."""
    scores = FrameStack(
        lambda t: edits[t] if t in edits else probabilities(base, t),
        num_frames=base.num_frames,
        frame_shape=(len(base.class_ids) + 1, *base.size),
        dtype="float32",
    )
    refined = Prediction(
        scores=scores,
        kind="probability",
        class_ids=base.class_ids,
        names=base.names,
        source=f"refined {base.source}",
        notes=base.notes,
    )
    if base.labels is None:
        return refined
    own = refined.label_map  # before the base's labels are put in front of them
    labels = FrameStack(
        lambda t: own(t) if t in edits else base.label_map(t),
        num_frames=base.num_frames,
        frame_shape=base.size,
        dtype="int16",
    )
    return replace(refined, labels=labels)
