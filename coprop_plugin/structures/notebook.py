"""How data look in a notebook: a strip of frames, a small timeline. Everything is escaped and stands by itself."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .clip import Clip
    from .control_points import ControlPoints
    from .time_base import TimeBase

STRIP_FRAMES, THUMB_PX = 8, 72
WIDTH_PX, BAR_PX = 640, 22
MOST_SEGMENTS = 400  # of a long clip; the others could not be told apart


def paragraph(text: str) -> str:
    """A line of text."""
    return f'<p style="margin:0 0 4px;font:13px sans-serif">{escape(text)}</p>'


def strip(clip: Clip) -> str:
    """A few frames of a clip side by side, as one inline PNG."""
    from PIL import Image

    chosen = np.unique(np.linspace(0, clip.num_frames - 1, min(STRIP_FRAMES, clip.num_frames)).round().astype(int))
    height, width = clip.size
    size = max(1, round(THUMB_PX * width / height)), THUMB_PX
    thumbs = [np.asarray(Image.fromarray(np.asarray(clip.frames[int(t)])).resize(size)) for t in chosen]
    packed = io.BytesIO()
    Image.fromarray(np.concatenate(thumbs, axis=1)).save(packed, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    told = escape(f"frames {', '.join(map(str, chosen))} of {clip.clip_id}")
    return f'<img src="{uri}" alt="{told}" title="{told}" style="max-width:100%">'


def timeline(points: ControlPoints, time_base: TimeBase | None = None) -> str:
    """Segments as bars (silent ones pale) with a line at each control point, in frames or, with a time base, seconds."""
    total = len(points)
    edges = np.arange(total + 1.0)
    if time_base is not None:
        edges = np.append(time_base.sound_window_s[:, 0], time_base.duration_s)
    places = (edges - edges[0]) / (edges[-1] - edges[0]) * WIDTH_PX
    shapes = []
    for segment in points.segments()[:MOST_SEGMENTS]:
        x, end = places[segment.start], places[segment.stop]
        fill = "#d9dee3" if segment.silent else "#7f9fb0"
        told = f"frames {segment.start} to {segment.stop - 1}"
        if time_base is not None:
            told += f", {edges[segment.start]:.2f} to {edges[segment.stop]:.2f} s"
        known = "silent" if segment.silent else ", ".join(segment.categories or ())
        told += f": {known}" if known else ""
        shapes.append(
            f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="14" width="{max(end - x, 0.5):.1f}" height="{BAR_PX}" '
            f'fill="{fill}"/><line x1="{x:.1f}" x2="{x:.1f}" y1="10" y2="{14 + BAR_PX}" stroke="#b3261e"/></g>'
        )
    unit = "frames" if time_base is None else "s"
    ends = f"{edges[0]:g}", f"{edges[-1]:g} {unit}"
    texts = (
        f'<text x="{x}" y="{28 + BAR_PX}" text-anchor="{anchor}" font-size="11" fill="currentColor">{escape(text)}</text>'
        for x, anchor, text in ((0, "start", ends[0]), (WIDTH_PX, "end", ends[1]))
    )
    label = escape(repr(points))
    return (
        f'<svg role="img" aria-label="{label}" viewBox="-1 0 {WIDTH_PX + 2} {32 + BAR_PX}" width="{WIDTH_PX}" '
        f'style="max-width:100%;font-family:sans-serif">{"".join(shapes)}{"".join(texts)}</svg>'
    )
