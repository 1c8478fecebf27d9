"""How data look in a notebook: a strip of frames, a small timeline. Everything is escaped and stands by itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from .stack import Frames

STRIP_FRAMES, THUMB_PX = 8, 72
WIDTH_PX, BAR_PX = 640, 22
MOST_SEGMENTS = 400  # of a long clip; the others could not be told apart


def paragraph(text: str) -> str:
    """A line of text."""
    return f'<p style="margin:0 0 4px;font:13px sans-serif">{escape(text)}</p>'


def strip(frames: Frames, *, label: str) -> str:
    """A few of ``(T, H, W, 3) uint8`` frames side by side, as one inline PNG."""
    from PIL import Image

    total, height, width = frames.shape[:3]
    chosen = np.unique(np.linspace(0, total - 1, min(STRIP_FRAMES, total)).round().astype(int))
    size = max(1, round(THUMB_PX * width / height)), THUMB_PX
    thumbs = [np.asarray(Image.fromarray(np.asarray(frames[int(t)])).resize(size)) for t in chosen]
    packed = io.BytesIO()
    Image.fromarray(np.concatenate(thumbs, axis=1)).save(packed, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    told = escape(f"frames {', '.join(map(str, chosen))} of {label}")
    return f'<img src="{uri}" alt="{told}" title="{told}" style="max-width:100%">'


class Bar(NamedTuple):
    """A stretch of a timeline: where it begins and ends in its unit, whether it is silent, what is told of it."""

    start: float
    stop: float
    silent: bool
    told: str


def timeline(bars: Sequence[Bar], *, unit: str, label: str) -> str:
    """Bars side by side (silent ones pale), a line where each begins; those of a long clip are cut off."""
    first, last = bars[0].start, bars[-1].stop
    scale = WIDTH_PX / (last - first)
    shapes = []
    for bar in bars[:MOST_SEGMENTS]:
        x, width = (bar.start - first) * scale, max((bar.stop - bar.start) * scale, 0.5)
        shapes.append(
            f'<g><title>{escape(bar.told)}</title><rect x="{x:.1f}" y="14" width="{width:.1f}" height="{BAR_PX}" '
            f'fill="{"#d9dee3" if bar.silent else "#7f9fb0"}"/>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="10" y2="{14 + BAR_PX}" stroke="#b3261e"/></g>'
        )
    texts = (
        f'<text x="{x}" y="{28 + BAR_PX}" text-anchor="{anchor}" font-size="11" fill="currentColor">{escape(text)}</text>'
        for x, anchor, text in ((0, "start", f"{first:g}"), (WIDTH_PX, "end", f"{last:g} {unit}"))
    )
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="-1 0 {WIDTH_PX + 2} {32 + BAR_PX}" width="{WIDTH_PX}" '
        f'style="max-width:100%;font-family:sans-serif">{"".join(shapes)}{"".join(texts)}</svg>'
    )
