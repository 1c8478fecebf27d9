"""The timeline of a clip as one inline SVG: sound, segments, what the masks show, and overlap with the truth.

The drawing stretches to any width while its text keeps its size. Colours come from the page's style sheet, so that
light and dark both work, and nothing is told by colour alone. Long clips are drawn in at most ``MAX_COLUMNS`` columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..structures import Clip, ControlPoints, Segment, TimeBase
from .colours import RGB
from .compare import ClipComparison, changes
from .lanes import (
    DESKTOP_PX,
    MAX_COLUMNS,
    PHONE_PX,
    Grid,
    changed_lane,
    confidence_lane,
    heard_lanes,
    iou_lane,
    presence_lanes,
    segment_lane,
    sound_lane,
    truth_lane,
)
from .svg import at, group, percent, tag
from .tables import seconds

LABEL_PX, GAP_PX = 18, 14
MANY_POINTS = 24  # beyond, the lines are drawn faint
WIDTHS_PX = {"wide": DESKTOP_PX, "narrow": PHONE_PX}


def timeline_svg(
    clip: Clip,
    control_points: ControlPoints,
    segments: Sequence[Segment],
    comparison: ClipComparison,
    *,
    names: Mapping[int, str],
    colours: Mapping[int, RGB],
    truth_changes: Sequence[int] | None = None,
    heard: Mapping[str, np.ndarray] | None = None,
    id_prefix: str = "timeline",
) -> Markup:
    """The whole timeline.

    Args:
        names, colours: of the classes that are shown.
        truth_changes: frames where the truth changes; by default those of the truth's class sets, where there is one.
        heard: name -> ``(T,)`` how probably an ear hears it; the first :data:`~.lanes.MAX_CLASS_LANES` are drawn.
        id_prefix: makes the ids inside unique on a page with several timelines.
    """
    grid = Grid.of(clip.time_base)
    if truth_changes is None and comparison.truth_sets is not None:
        truth_changes = changes(comparison.truth_sets)
    lanes = [
        sound_lane(clip),
        segment_lane(segments, grid, hatch=f"{id_prefix}-hatch"),
        *([truth_lane(truth_changes, grid)] if truth_changes is not None else []),
        *([confidence_lane(control_points.confidence, grid)] if control_points.confidence is not None else []),
        *heard_lanes(heard or {}, grid),
        *presence_lanes(comparison, grid, names=names, colours=colours),
        changed_lane(comparison.changed, grid),
        *(
            [iou_lane(comparison.base_iou, comparison.refined_iou, grid)]
            if comparison.base_iou is not None and comparison.refined_iou is not None
            else []
        ),
    ]
    drawn, y = [], LABEL_PX + 4
    for lane in lanes:
        label = tag("text", lane.label, x=0, y=y + 12, class_="lane")
        drawn.append(
            label + tag("svg", lane.body, y=y + LABEL_PX, width="100%", height=lane.height_px, overflow="visible")
        )
        y += LABEL_PX + lane.height_px + GAP_PX
    marks = point_marks(control_points.frames, grid, clip.time_base, height_px=y - 4)
    axis = axis_marks(clip.time_base, grid, y=y)
    ids = f"{id_prefix}-title", f"{id_prefix}-description"
    return tag(
        "svg",
        tag("title", f"Timeline of {clip.clip_id}", id=ids[0]),
        tag("desc", describe(clip, control_points, segments), id=ids[1]),
        hatching(f"{id_prefix}-hatch"),
        marks,
        *drawn,
        axis,
        class_="timeline",
        role="img",
        aria_labelledby=" ".join(ids),
        width="100%",
        height=y + 34,
    )


def describe(clip: Clip, control_points: ControlPoints, segments: Sequence[Segment]) -> str:
    """The timeline in words, for those who cannot see it."""
    starts = [seconds(clip.time_base.sound_window_s[t, 0]) for t in control_points.frames[:50]]
    silent = sum(segment.silent is True for segment in segments)
    return (
        f"{seconds(clip.time_base.duration_s)} of sound in {clip.num_frames} frames; {len(control_points.frames)} control "
        f"points, at {', '.join(starts)}{' and more' if len(control_points.frames) > 50 else ''}; "
        f"{len(segments)} segments, {silent} of them silent."
    )


def point_marks(frames: Sequence[int], grid: Grid, time_base: TimeBase, *, height_px: int) -> Markup:
    """A dashed line through all lanes at each control point, with its time where there is room."""
    marks: list[Markup] = []
    line_class = "point" if len(frames) <= MANY_POINTS else "point dense"
    drawn: set[int] = set()
    free_px = dict.fromkeys(WIDTHS_PX, -math.inf)  # where the next label may begin on a desktop and on a phone
    for t in frames:
        x = float(grid.edges[t])
        if round(x * MAX_COLUMNS) in drawn:
            continue
        drawn.add(round(x * MAX_COLUMNS))
        label = seconds(time_base.sound_window_s[t, 0])
        parts = [
            tag("title", f"control point: frame {t}"),
            tag("line", y1=16, y2=height_px, class_=line_class),
            tag("path", d="M-4.5 13h9l-4.5 7z", class_="point-cap"),
        ]
        room = {name: _takes(label, x * width, free_px, name) for name, width in WIDTHS_PX.items()}
        if any(room.values()):
            css = "" if all(room.values()) else " roomy" if room["wide"] else " tight"
            parts.append(tag("text", label, y=10, text_anchor="middle", class_=f"point-time{css}"))
        marks.append(at(x, tag("g", *parts)))
    return group(marks)


def _takes(label: str, x_px: float, free_px: dict[str, float], name: str) -> bool:
    """Whether a label centred at ``x_px`` fits behind the last one; then it takes the place."""
    half_px = 3.3 * len(label) + 2
    if x_px - half_px < free_px[name]:
        return False
    free_px[name] = x_px + half_px + 3
    return True


def axis_marks(time_base: TimeBase, grid: Grid, *, y: int) -> Markup:
    """Frame numbers in the middle of their windows, seconds at the edges."""
    step = max(1, int(nice_step(len(time_base), at_most=10)))
    marks = [tag("line", x1=0, x2="100%", y1=y, y2=y, class_="axis")]
    marks += [
        tag("text", str(t), x=percent(grid.middle(t)), y=y + 14, text_anchor="middle", class_="tick")
        for t in range(0, len(time_base), step)
    ]
    second = nice_step(time_base.duration_s, at_most=5)
    for k in range(int(time_base.duration_s / second + 1e-6) + 1):
        x = k * second / time_base.duration_s
        anchor = "start" if x < 0.02 else "end" if x > 0.95 else "middle"
        marks += [
            at(x, tag("line", y1=-4, y2=0, class_="axis"), y=y),
            tag("text", seconds(k * second), x=percent(x), y=y + 29, text_anchor=anchor, class_="tick second"),
        ]
    return group(marks)


def nice_step(length: float, *, at_most: int) -> float:
    """The smallest of …, 0.1, 0.2, 0.5, 1, 2, 5, 10, … that cuts a length into at most so many pieces."""
    steps = (digit * 10.0**power for power in range(-3, 9) for digit in (1, 2, 5))
    return next(step for step in steps if length / step <= at_most)


def hatching(pattern_id: str) -> Markup:
    """The pattern of silent segments."""
    stroke = tag("path", d="M-1 7 7 -1M-1 1 1 -1M5 7 7 5", class_="hatch")
    return tag("defs", tag("pattern", stroke, id=pattern_id, width=6, height=6, patternUnits="userSpaceOnUse"))
