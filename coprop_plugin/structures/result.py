"""What came of one clip: plain data, and the few things that a user of a notebook does with them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..errors import CoPropError, unknown_name
from . import notebook
from .clip import Clip
from .control_points import ControlPoints, Segment
from .frozen import Frozen
from .prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Content = Literal["labels", "probabilities"]


@dataclass(frozen=True, eq=False, repr=False)
class Result(Frozen):
    """What came of one clip. Two results are equal if they are the same object: their frames are read when asked for.

    Attributes:
        prediction: the refined prediction, probabilities.
        control_points: where the set of sounding objects changes.
        segments: the stretches between them, with the frame whose mask was trusted.
        base: what the base model had said.
        changed: the frames whose masks were edited.
        notes: what clip, generator and policy found worth telling.
        clip: what was refined, where it is kept.
        base_frames: the frames where the base model was run; ``None`` for all (``mode="frame"`` asks at keyframes).
        why: a line for every edit and every abstention, where the policy can tell.
        heard: object -> ``(T,)`` how probably an ear hears it in each frame, where one was asked and knows it.
    """

    prediction: Prediction
    control_points: ControlPoints
    segments: tuple[Segment, ...]
    base: Prediction
    changed: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=())
    clip: Clip | None = None
    base_frames: tuple[int, ...] | None = None
    why: tuple[str, ...] = ()
    heard: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("segments", "changed", "notes", "why"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_numpy(self, what: Content = "labels") -> np.ndarray:
        """All refined masks as one array, read now.

        Args:
            what: ``labels``: ``(T, H, W) int16``, the class id of each pixel, 0 the background (1 the object of a binary
                model). ``probabilities``: ``(T, K+1, H, W) float32`` in [0, 1], channel 0 the background, channel i
                the class ``prediction.class_ids[i - 1]``.

        Raises:
            CoPropError: another word.
        """
        if what not in get_args(Content):
            raise unknown_name("content", what, get_args(Content))
        frame = self.prediction.label_map if what == "labels" else self.prediction.frame
        return np.stack([frame(t) for t in range(self.prediction.num_frames)])

    def save(self, folder: str | Path, **options: Any) -> Path:
        """Write the folder that ``coprop refine`` writes; see ``coprop_plugin.save``, which this calls."""
        return _above("save")(self, folder, **options)

    def report(self, path: str | Path | None = None, **options: Any) -> str:
        """The HTML report as text (a notebook shows it), also written to ``path``; see ``report.folder.report``."""
        return _above("report")(self, path, **options)

    def plot(self, **options: Any) -> Figure:
        """Sound, control points and masks before and after as a figure of matplotlib (extra ``plot``)."""
        return _above("plot")(self, **options)

    def clip_of(self, given: Clip | None) -> Clip:
        """The clip that was given, else the result's own.

        Raises:
            CoPropError: neither, or one of another number of frames.
        """
        clip = given or self.clip
        if clip is None:
            raise CoPropError("this result does not hold its clip; give it: clip=…")
        if clip.num_frames != self.prediction.num_frames:
            raise CoPropError(
                f"the clip '{clip.clip_id}' has {clip.num_frames} frames, the result {self.prediction.num_frames}; "
                "give the clip that was refined."
            )
        return clip

    def check_base(self) -> None:
        """Raise a :class:`CoPropError` where the base model was run at keyframes alone."""
        if self.base_frames is not None:
            raise CoPropError(
                f"the base model was run at {len(self.base_frames)} keyframes alone, so there is nothing to compare with; "
                "refine with mode='clip'."
            )

    def __repr__(self) -> str:
        of = f" of '{self.clip.clip_id}'" if self.clip else ""
        return (
            f"Result({len(self.changed)} of {self.prediction.num_frames} frames{of} changed, {self.control_points!r}, "
            f"{self.prediction!r})"
        )

    def _repr_html_(self) -> str:
        told = [notebook.paragraph(f"{len(self.changed)} of {self.prediction.num_frames} frames changed")]
        if self.clip is not None:
            told.append(notebook.strip(self.clip.frames, label=self.clip.clip_id))
        told.append(self.control_points.timeline_html(self.clip.time_base if self.clip else None))
        return "".join([*told, *(notebook.paragraph(f"note: {note}") for note in self.notes)])


# The one hook: what a result is asked to do lies in rooms above this one (it needs the store, drawing and the page),
# and imports run downwards only. So these three methods find their function by its name, when they are called.
_ABOVE: Mapping[str, str] = {
    "save": "coprop_plugin.report.folder:save",
    "report": "coprop_plugin.report.folder:report",
    "plot": "coprop_plugin.report.plot:plot",
}


def _above(verb: str) -> Any:
    return pkgutil.resolve_name(_ABOVE[verb])
