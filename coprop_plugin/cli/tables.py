"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from ..structures import Clip, Segment


def segment_table(segments: Iterable[Segment], clip: Clip) -> Table:
    """Segments with their times, and what is known of their sound."""
    table = Table("frames", "sound", "anchor", "known of the sound", box=None, pad_edge=False, header_style="bold")
    windows = clip.time_base.sound_window_s
    for segment in segments:
        known = (
            "silent"
            if segment.silent
            else ", ".join(segment.categories or ()) or ("sounding" if segment.silent is False else "")
        )
        table.add_row(
            f"{segment.start}" if len(segment) == 1 else f"{segment.start} to {segment.stop - 1}",
            f"{windows[segment.start, 0]:.2f} to {windows[segment.stop - 1, 1]:.2f} s",
            "" if segment.anchor is None else str(segment.anchor),
            escape(known),
        )
    return table


def score_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Before and after, every number beside the protocol it was computed by."""
    table = Table("protocol", "metric", box=None, pad_edge=False, header_style="bold")
    for name in ("base", "refined", "change"):
        table.add_column(name, justify="right")
    for row in rows:
        base, refined = row.get("base"), row.get("refined")
        change = "" if base is None or refined is None else f"{refined - base:+.2f}"
        table.add_row(escape(row["protocol"]), escape(row["metric"]), number(base), number(refined), change)
    return table


def number(value: float | None) -> str:
    """Two digits, or a dash where a number is not defined."""
    return "-" if value is None or value != value else f"{value:.2f}"
