"""What the report of one clip says, piece by piece, ready for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, Clip, ControlPoints, Prediction, Segment
from .colours import RGB
from .compare import ClipComparison, changes, mean_iou
from .lanes import segment_label
from .strips import LARGE, Picture, masked_pictures
from .tables import seconds

MAX_SEGMENT_ROWS = 100


@dataclass(frozen=True)
class StripColumn:
    """One frame of the strips; ``after_gap`` where frames before it are left out."""

    frame: int
    time_s: float
    point: bool
    changed: bool
    after_gap: bool
    pictures: tuple[Picture, ...]
    base_iou: str
    refined_iou: str


@dataclass(frozen=True)
class SegmentRow:
    """One segment in words and numbers; ``columns`` of the strips lie in it."""

    segment: Segment
    label: str
    time: str
    changed: int
    base_iou: str
    refined_iou: str
    columns: int


@dataclass(frozen=True)
class CloseUp:
    """The frame that changed most, larger."""

    frame: int
    time_s: float
    share: float
    pictures: tuple[Picture, ...]


def class_names(class_ids: Sequence[int], predictions: Sequence[Prediction]) -> dict[int, str]:
    """The name of each class: what a prediction calls it, AVSBench's name in its label space, else its id."""
    names = {}
    for class_id in class_ids:
        known = [p.names[class_id] for p in predictions if class_id in p.names]
        if any(p.class_ids == AVSBENCH_CLASSES for p in predictions):
            known.append(AVSBENCH_NAMES[class_id])
        names[class_id] = known[0] if known else "sounding object" if predictions[0].binary else f"class {class_id}"
    return names


def clip_facts(clip: Clip, base: Prediction, control_points: ControlPoints) -> list[tuple[str, str]]:
    """The line under the title: what was refined."""
    (height, width), (mask_height, mask_width) = clip.size, base.size
    origin = control_points.origin
    return [
        ("frames", f"{clip.num_frames} of {width} × {height} px"),
        ("sampling", str(clip.time_base.sampling)),
        ("length", seconds(clip.time_base.duration_s)),
        ("sound", f"{clip.sound.rate_hz / 1000:g} kHz"),
        (
            "masks",
            f"{base.kind}, {len(base.class_ids)} class{'' if base.binary else 'es'}, {mask_width} × {mask_height} px",
        ),
        ("control points", origin.generator + (f", fallback {origin.fallback}" if origin.fallback else "")),
    ]


def cards(comparison: ClipComparison, control_points: ControlPoints) -> list[tuple[str, str, str]]:
    """``(what, before, now)``: the numbers at the top of the page."""
    points = set(control_points.frames[1:])
    total = len(points)
    before, now = (len(points & set(changes(s))) for s in (comparison.base_sets, comparison.refined_sets))
    found = [("frames changed", "", f"{int((comparison.changed > 0).sum())} of {len(comparison.changed)}")]
    if total:
        what = "control points where masks start, stop or change class"
        what = what if len(comparison.shown) > 1 else "control points where masks start or stop"
        found.append((what, f"{before} of {total}", f"{now} of {total}"))
    if comparison.base_iou is not None and comparison.refined_iou is not None:
        old, new = (_percent(mean_iou(values)) for values in (comparison.base_iou, comparison.refined_iou))
        found.append(("mean frame IoU with the truth, %", old, new))
    return found


def strip_columns(
    clip: Clip,
    predictions: Sequence[Prediction],
    comparison: ClipComparison,
    *,
    control_points: ControlPoints,
    frames: Sequence[int],
    colours: Mapping[int, RGB],
) -> list[StripColumn]:
    """The frames of the strips, each under the masks of every prediction."""
    base_iou, refined_iou = comparison.base_iou, comparison.refined_iou
    return [
        StripColumn(
            frame=t,
            time_s=float(clip.time_base.frame_time_s[t]),
            point=bool(control_points.flags[t]),
            changed=bool(comparison.changed[t] > 0),
            after_gap=i > 0 and t != frames[i - 1] + 1,
            pictures=masked_pictures(clip, t, predictions, colours=colours),
            base_iou=_percent(None if base_iou is None else base_iou[t]),
            refined_iou=_percent(None if refined_iou is None else refined_iou[t]),
        )
        for i, t in enumerate(frames)
    ]


def segment_rows(
    clip: Clip, segments: Sequence[Segment], comparison: ClipComparison, *, frames: Sequence[int]
) -> list[SegmentRow]:
    """The segments, each with what changed in it."""
    windows = clip.time_base.sound_window_s

    def mean(values: np.ndarray | None, segment: Segment) -> str:
        return _percent(None if values is None else mean_iou(values[segment.start : segment.stop]))

    return [
        SegmentRow(
            segment=segment,
            label=segment_label(segment),
            time=f"{seconds(windows[segment.start, 0])} to {seconds(windows[segment.stop - 1, 1])}",
            changed=int((comparison.changed[segment.start : segment.stop] > 0).sum()),
            base_iou=mean(comparison.base_iou, segment),
            refined_iou=mean(comparison.refined_iou, segment),
            columns=sum(segment.start <= t < segment.stop for t in frames),
        )
        for segment in segments
    ]


def close_up(
    clip: Clip, predictions: Sequence[Prediction], comparison: ClipComparison, *, colours: Mapping[int, RGB]
) -> CloseUp | None:
    """The frame that changed most, or None where nothing changed."""
    t = int(np.argmax(comparison.changed))
    if not comparison.changed[t]:
        return None
    pictures = masked_pictures(clip, t, predictions, colours=colours, look=LARGE)
    return CloseUp(t, float(clip.time_base.frame_time_s[t]), float(comparison.changed[t]), pictures)


def _percent(share: float | None) -> str:
    """A share in percent, a dash where it is not known."""
    return "–" if share is None or share != share else f"{100 * share:.1f}"
