"""The report of many videos as one HTML file: every number before and after, and which videos to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from markupsafe import Markup

from ..files import atomic_write
from .page import render
from .svg import tag
from .tables import setting_rows

_CHART = (1000, 100)  # units of the drawing; it is stretched to the page


class TableLike(Protocol):
    """Unescaped text in rows; the first ``words`` columns are text, the others numbers.

    Rows that share the cells of the first ``groups`` columns get these as a heading (0: none).
    """

    @property
    def title(self) -> str: ...
    @property
    def header(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def words(self) -> int: ...
    @property
    def note(self) -> str: ...
    @property
    def groups(self) -> int: ...


@dataclass(frozen=True)
class VideoLink:
    """One video with its number before and after, and the relative address of its own page, if it has one."""

    method: str
    video: str
    before: str
    after: str
    change: str
    changed_frames: int
    href: str | None


def write_index_page(
    path: str | Path,
    *,
    title: str,
    headline: Sequence[str],
    results: Sequence[TableLike],
    references: Sequence[TableLike],
    changes: Mapping[str, Sequence[float]],
    ranked_by: str,
    worst: Sequence[VideoLink],
    best: Sequence[VideoLink],
    rules: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        title, headline: what was done, and a sentence for each method.
        results, references: tables above and below the videos.
        changes: method -> the change of every video in percent points, ascending.
        ranked_by: the number behind ``changes``, ``worst`` and ``best``.
        worst, best: videos to look at, method after method, the greatest change first; several methods get headings.
        rules: protocol -> its line.
        settings: the resolved settings, nested as they are.
        notes: sentences.
    """
    largest = max((abs(value) for values in changes.values() for value in values), default=0) or 1.0
    charts = [(m, change_chart(values, largest=largest), extent(values)) for m, values in changes.items() if values]
    page = render(
        "index.html.j2",
        title=title,
        headline=headline,
        results=results,
        references=references,
        charts=charts,
        ranked_by=ranked_by,
        grouped=len(changes) > 1,
        lists=[
            (name, anchor, videos)
            for name, anchor, videos in (("Worst videos", "worst", worst), ("Best videos", "best", best))
            if videos
        ],
        rules=rules or {},
        settings=setting_rows(settings or {}),
        notes=notes,
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))
    return Path(path)


def change_chart(values: Sequence[float], *, largest: float) -> Markup:
    """Every video's change as a thin bar over or under a line, in their order; one path each for gains and losses.

    Args:
        values: the changes.
        largest: the change that reaches the edge.
    """
    width, height = _CHART
    step = width / len(values)

    def bars(sign: int) -> str:
        return "".join(
            f"M{i * step:.1f} {height / 2:g}h{step:.1f}v{-value / largest * height / 2:.1f}h{-step:.1f}z"
            for i, value in enumerate(values)
            if value * sign > 0
        )

    return tag(
        "svg",
        tag("path", d=bars(-1), fill="var(--point)"),
        tag("path", d=bars(1), fill="var(--accent)"),
        tag("line", x1=0, x2=width, y1=height / 2, y2=height / 2, class_="axis"),
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        width="100%",
        height=90,
        role="img",
        aria_label=f"change of {len(values)} videos, {extent(values)}",
    )


def extent(values: Sequence[float]) -> str:
    """How many gained and lost, and the range, in words."""
    better, worse = sum(v > 0 for v in values), sum(v < 0 for v in values)
    return (
        f"{better} better, {worse} worse, {len(values) - better - worse} the same; "
        f"from {min(values):+.2f} to {max(values):+.2f}"
    )
