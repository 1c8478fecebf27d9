"""The report of one clip as one HTML file: what changed, where in the sound, and by which protocol it was scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CoPropError
from ..files import atomic_write
from ..masks.areas import MIN_AREA_SHARE
from ..structures import Clip, ControlPoints, Prediction, Segment
from . import content
from .colours import class_colours, css_colour
from .compare import FRAME_IOU_RULE, compare, explanation, headline
from .lanes import MAX_MARKED_FRAMES
from .overlay import check_frames
from .page import render
from .strips import choose_frames
from .tables import score_rows, setting_rows
from .timeline import timeline_svg

MAX_STRIP_FRAMES = 24


MAX_WHY_LINES = 200


class Page(str):
    """A whole HTML page as text; a notebook shows it in a frame of its own, where it can reach nothing."""

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(str(self))}" sandbox width="100%" height="900" style="border:0"></iframe>'


def write_report(path: str | Path, **content: Any) -> Path:
    """Write :func:`report_page` of ``content``, whole or not at all; returns the file."""
    return write_page(path, report_page(**content))


def write_page(path: str | Path, page: str) -> Path:
    """Write a page, whole or not at all; what is no text (lone surrogates in names) becomes a question mark."""
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))
    return Path(path)


def report_page(
    *,
    clip: Clip,
    base: Prediction,
    refined: Prediction,
    control_points: ControlPoints,
    segments: Sequence[Segment] | None = None,
    truth: Prediction | None = None,
    truth_changes: Sequence[int] | None = None,
    scores: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    why: Sequence[str] = (),
    heard: Mapping[str, np.ndarray] | None = None,
    title: str | None = None,
) -> Page:
    """The report as one self-contained page: no scripts, no network, under 4 MB.

    Args:
        clip, base, refined, control_points: what was refined, and with which control points.
        segments: by default those of the control points; give the result's own to show its anchors.
        truth: a hard prediction; adds its row, its changes and the frame IoU.
        truth_changes: frames where the truth changes, if its class sets do not tell (binary masks).
        scores: rows for :func:`~coprop_plugin.report.tables.score_rows`; each names its protocol.
        settings: the resolved settings, nested as they are.
        notes: further sentences for the notes.
        why: the policy's line for every edit and every abstention; the first :data:`MAX_WHY_LINES` are shown.
        heard: name -> ``(T,)`` how probably an ear hears it in each frame; a lane each.
        title: by default the clip's id.

    Raises:
        CoPropError: predictions or control points of another number of frames, or malformed score rows.
    """
    segments = control_points.segments() if segments is None else segments
    _check(clip, control_points, segments, base=base, refined=refined, truth=truth)
    shown = [base, refined] if truth is None else [base, refined, truth]
    comparison = compare(base, refined, truth=truth)
    names, colours = content.class_names(comparison.shown, shown), class_colours(comparison.classes)
    frames = choose_frames(
        clip.num_frames,
        control_points.frames,
        at_most=MAX_STRIP_FRAMES,
        changed=[t for t, share in enumerate(comparison.changed) if share > 0],
    )
    page = render(
        "report.html.j2",
        title=title or clip.clip_id,
        clip=clip,
        facts=content.clip_facts(clip, base, control_points),
        headline=headline(comparison),
        explanation=explanation(comparison, control_points, clip.time_base),
        cards=content.cards(comparison, control_points),
        timeline=timeline_svg(
            clip,
            control_points,
            segments,
            comparison,
            names=names,
            colours=colours,
            truth_changes=truth_changes,
            heard=heard or {},
        ),
        classes=[(names[c], css_colour(colours[c])) for c in comparison.shown],
        rows=("before", "after", "truth")[: len(shown)],
        columns=content.strip_columns(
            clip, shown, comparison, control_points=control_points, frames=frames, colours=colours
        ),
        close_up=content.close_up(clip, shown, comparison, colours=colours),
        segments=content.segment_rows(clip, segments, comparison, frames=frames),
        has_anchors=any(segment.anchor is not None for segment in segments),
        max_marked_frames=MAX_MARKED_FRAMES,
        max_segment_rows=content.MAX_SEGMENT_ROWS,
        scores=score_rows(scores),
        settings=setting_rows(settings or {}),
        iou_rule=FRAME_IOU_RULE,
        min_area=MIN_AREA_SHARE,
        masks_notes=base.notes,
        notes=tuple(
            n for n in dict.fromkeys((*clip.notes, *control_points.origin.notes, *notes)) if n not in base.notes
        ),
        why=tuple(why[:MAX_WHY_LINES]),
        why_left_out=max(0, len(why) - MAX_WHY_LINES),
    )
    return Page(page)


def _check(
    clip: Clip, control_points: ControlPoints, segments: Sequence[Segment], **predictions: Prediction | None
) -> None:
    """Everything speaks of the same frames."""
    for role, prediction in predictions.items():
        if prediction is not None:
            check_frames(clip, prediction, role=role)
    if len(control_points) != clip.num_frames:
        raise CoPropError(
            f"clip '{clip.clip_id}' has {clip.num_frames} frames, the control points {len(control_points)}; "
            "they must be the same. Make the control points from this clip, with its sampling."
        )
    if not segments or max(segment.stop for segment in segments) > clip.num_frames:
        raise CoPropError(f"clip '{clip.clip_id}': segments lie in [0, {clip.num_frames}), got {segments[-1:]}.")
