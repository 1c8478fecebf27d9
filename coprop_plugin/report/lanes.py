"""The rows of the timeline: each a small pure function from data to SVG.

Positions along time are percentages of the width, sizes are pixels; colours are classes of the page's style sheet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ..structures import Clip, Segment, TimeBase
from .colours import RGB, css_colour
from .compare import ClipComparison
from .envelope import envelope
from .svg import at, group, percent, tag

MAX_COLUMNS = 480
MAX_CLASS_LANES = 6
MAX_MARKED_FRAMES = 60  # up to here every frame gets its own marks
WAVE_COLUMNS = 900
DESKTOP_PX, PHONE_PX = 1100, 310  # widths that labels are laid out for; the style sheet switches at 640 px


@dataclass(frozen=True)
class Lane:
    """One row of the timeline: a label above a drawing of ``height_px``."""

    label: str
    height_px: int
    body: Markup


@dataclass(frozen=True)
class Grid:
    """Where frames lie along the width: ``edges (T+1,)`` as shares, and the columns that a long clip is drawn in."""

    edges: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, time_base: TimeBase) -> Grid:
        starts = time_base.sound_window_s[:, 0] / time_base.duration_s
        count = min(len(time_base), MAX_COLUMNS)
        return cls(np.append(starts, 1.0), np.linspace(0, len(time_base), count + 1).astype(int))

    def middle(self, frame: int) -> float:
        return float(self.edges[frame] + self.edges[frame + 1]) / 2

    def any(self, flags: Sequence[bool] | np.ndarray) -> list[tuple[float, float]]:
        """The stretches ``(start, width)`` of columns in which any flag is set."""
        held = np.logical_or.reduceat(np.asarray(flags, bool), self.columns[:-1])
        steps = np.flatnonzero(np.diff(np.concatenate([[0], held.astype(int), [0]])))
        shares = self.edges[self.columns[steps]]
        return [(float(a), float(b - a)) for a, b in zip(shares[::2], shares[1::2], strict=True)]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """``(columns,)``: the mean of each column's frames."""
        return np.add.reduceat(np.asarray(values, float), self.columns[:-1]) / np.diff(self.columns)


def sound_lane(clip: Clip) -> Lane:
    """The waveform: lowest and highest sample of each column, the loudest at full height."""
    outline = envelope(clip.sound, clip.time_base.duration_s, columns=WAVE_COLUMNS)
    peak = float(np.abs(outline).max())
    level = f"peak {round(20 * np.log10(peak))} dBFS" if peak > 0 else "digital silence"
    scaled = 50 - 48 * outline / (peak or 1.0)
    upper = [f"{x},{scaled[x, 1] - 0.4:.1f}" for x in range(WAVE_COLUMNS)]
    lower = [f"{x},{scaled[x, 0] + 0.4:.1f}" for x in reversed(range(WAVE_COLUMNS))]
    body = _stretched(tag("polygon", points=" ".join(upper + lower), class_="wave"), height_px=72)
    return Lane(f"sound, {clip.sound.rate_hz / 1000:g} kHz, {level}", 72, body)


def segment_lane(segments: Sequence[Segment], grid: Grid, *, hatch: str) -> Lane:
    """One band a segment, silent ones hatched and named, with a diamond at the anchor."""
    bands = []
    for segment in segments[:MAX_COLUMNS]:
        start, stop = float(grid.edges[segment.start]), float(grid.edges[segment.stop])
        label = segment_label(segment)
        x, width = percent(start), percent(stop - start)
        fill = f"url(#{hatch})" if segment.silent else None
        bands += [
            tag("rect", x=x, width=width, height=26, class_="band"),
            tag(
                "rect",
                tag("title", f"frames {segment.start} to {segment.stop - 1}: {label}"),
                x=x,
                width=width,
                height=26,
                class_="band-edge",
                fill=fill or "transparent",
            ),
        ]
        if (fit := fits(label, stop - start)) is not None:
            bands.append(at(start, tag("text", label, x=7, y=17, class_=f"band-label {fit}".strip())))
        if segment.anchor is not None:
            diamond = tag(
                "path", tag("title", f"anchor: frame {segment.anchor}"), d="M0 -5 5 0 0 5 -5 0z", class_="anchor"
            )
            bands.append(at(grid.middle(segment.anchor), diamond, y=32))
    more = f" (the first {MAX_COLUMNS} of {len(segments)})" if len(segments) > MAX_COLUMNS else ""
    return Lane(f"segments{more}", 38, group(bands))


def fits(label: str, share: float) -> str | None:
    """The style class of a label inside a share of the width: empty where it fits on a phone too, None nowhere."""
    needed_px = 6.6 * len(label) + 9
    return "" if share * PHONE_PX >= needed_px else "roomy" if share * DESKTOP_PX >= needed_px else None


def segment_label(segment: Segment) -> str:
    """What is known to sound in a segment."""
    if segment.categories:
        return ", ".join(segment.categories)
    return {True: "silent", False: "sounding", None: ""}[segment.silent]


def truth_lane(frames: Sequence[int], grid: Grid) -> Lane:
    """Where the truth changes, as ticks under the control points."""
    ticks = [
        at(float(grid.edges[t]), tag("path", tag("title", f"truth changes at frame {t}"), d="M0 10 -5 0 5 0z"))
        for t in frames[:MAX_COLUMNS]
    ]
    label = "changes of the truth" if frames else "changes of the truth (none)"
    return Lane(label, 10, group(ticks, class_="truth"))


def confidence_lane(confidence: np.ndarray, grid: Grid) -> Lane:
    """A dot for each frame (or column): the generator's confidence, 1 at the top."""
    return _dots("confidence in each frame's flag", confidence, grid)


def heard_lanes(heard: Mapping[str, np.ndarray], grid: Grid) -> list[Lane]:
    """What an ear hears: for each name a dot a frame (or column), how probably, 1 at the top."""
    return [_dots(f"heard: {name}", chances, grid) for name, chances in list(heard.items())[:MAX_CLASS_LANES]]


def _dots(label: str, shares: np.ndarray, grid: Grid) -> Lane:
    values = grid.mean(shares)
    columns = grid.columns
    dots = [
        tag("circle", cx=percent(float(grid.edges[a] + grid.edges[b]) / 2), cy=float(22 - 20 * value), r=2)
        for a, b, value in zip(columns[:-1], columns[1:], values, strict=True)
    ]
    return Lane(label, 24, _scale(24, ("1", 2), ("0", 22)) + group(dots, class_="dots"))


def presence_lanes(
    comparison: ClipComparison, grid: Grid, *, names: Mapping[int, str], colours: Mapping[int, RGB]
) -> list[Lane]:
    """One lane for each of the classes shown in the most frames, and a word on the others."""
    roles = (comparison.base_sets, comparison.refined_sets, comparison.truth_sets or ())
    frames = Counter(c for sets in roles for shown in sets for c in shown)
    drawn = sorted(sorted(frames, key=lambda c: (-frames[c], c))[:MAX_CLASS_LANES])
    lanes = [presence_lane(c, names[c], colours[c], comparison, grid) for c in drawn]
    if len(frames) > len(drawn):
        lanes.append(Lane(f"{len(frames) - len(drawn)} more classes are not drawn", 0, Markup("")))
    return lanes


def presence_lane(class_id: int, name: str, colour: RGB, comparison: ClipComparison, grid: Grid) -> Lane:
    """When a class is shown: outlined before, filled after, a thin line for the truth."""
    rows = [
        tag("rect", x=percent(x), width=percent(w), y=0.5, height=7, class_="before-bar")
        for x, w in grid.any([class_id in shown for shown in comparison.base_sets])
    ] + [
        tag("rect", x=percent(x), width=percent(w), y=10, height=9, fill=css_colour(colour), class_="after-bar")
        for x, w in grid.any([class_id in shown for shown in comparison.refined_sets])
    ]
    if comparison.truth_sets is not None:
        rows += [
            tag("rect", x=percent(x), width=percent(w), y=22, height=3, class_="truth")
            for x, w in grid.any([class_id in shown for shown in comparison.truth_sets])
        ]
    return Lane(f"shown: {name}", 26 if comparison.truth_sets is not None else 20, group(rows))


def changed_lane(changed: np.ndarray, grid: Grid) -> Lane:
    """The frames whose masks changed."""
    count = int((changed > 0).sum())
    rects = [tag("rect", x=percent(x), width=percent(w), height=6, class_="changed") for x, w in grid.any(changed > 0)]
    return Lane(f"frames changed ({count} of {len(changed)})", 6, group(rects))


def iou_lane(base: np.ndarray, refined: np.ndarray, grid: Grid, *, height_px: int = 84) -> Lane:
    """Overlap with the truth: a hollow dot before, a full one after; lines where frames are too many for dots."""
    y0, span = height_px - 4, height_px - 8
    scale = _scale(height_px, ("1", 4), ("0.5", 4 + span / 2), ("0", y0))
    if len(base) > MAX_MARKED_FRAMES:
        lines = [
            tag(
                "polyline",
                points=_points(grid, grid.mean(values), y0, span),
                class_=css,
                vector_effect="non-scaling-stroke",
            )
            for values, css in ((base, "before-line"), (refined, "after-line"))
        ]
        return Lane(
            "frame IoU with the truth", height_px, scale + _stretched(*lines, height_px=height_px, units=height_px)
        )
    marks = []
    for t in map(int, np.flatnonzero(~np.isnan(base))):
        before, after = float(base[t]), float(refined[t])
        y = y0 - span * before, y0 - span * after
        words = tag("title", f"frame {t}: IoU {before:.3f} before, {after:.3f} after")
        marks.append(
            at(
                grid.middle(t),
                tag("line", y1=y[0], y2=y[1], class_="gain" if after >= before else "loss"),
                tag("circle", words, cy=y[0], r=4, class_="before-dot"),
                tag("circle", words, cy=y[1], r=3.2, class_="after-dot"),
            )
        )
    return Lane("frame IoU with the truth", height_px, scale + group(marks))


def _scale(height_px: int, *marks: tuple[str, float]) -> Markup:
    """Thin lines across a lane, with their values to the left of it."""
    return group(
        tag("line", x1=0, x2="100%", y1=y, y2=y, class_="grid")
        + tag("text", text, x=0, dx=-5, y=y + 4, text_anchor="end", class_="tick")
        for text, y in marks
    )


def _stretched(*children: Markup, height_px: int, units: int = 100) -> Markup:
    """Shapes on a 900-wide canvas that is stretched over the whole width."""
    box = f"0 0 {WAVE_COLUMNS} {units}"
    return tag("svg", *children, width="100%", height=height_px, viewBox=box, preserveAspectRatio="none")


def _points(grid: Grid, values: np.ndarray, y0: float, span: float) -> str:
    """A polyline of ``values`` in 900 units of width; unknown ones are left out."""
    middles = (grid.edges[grid.columns[:-1]] + grid.edges[grid.columns[1:]]) / 2 * WAVE_COLUMNS
    return " ".join(
        f"{x:.1f},{y0 - span * value:.1f}" for x, value in zip(middles, values, strict=True) if value == value
    )
