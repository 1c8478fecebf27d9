"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..metrics.scores import label

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
            known,
        )
    return table


def score_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Before and after, every number beside the protocol it was computed by."""
    table = Table("protocol", "metric", box=None, pad_edge=False, header_style="bold")
    for name in ("base", "refined", "change"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    shown = None
    for row in rows:
        base, refined, unit = row.get("base"), row.get("refined"), row.get("unit") or ""
        change = None if base is None or refined is None else refined - base
        protocol = "" if row["protocol"] == shown else row["protocol"]
        shown = row["protocol"]
        numbers = (number(base, unit), number(refined, unit), number(change, unit, sign="+"))
        table.add_row(protocol, label(row["metric"], row.get("masks")), *numbers, unit)
    return table


def number(value: float | None, unit: str = "%", *, sign: str = "") -> str:
    """Two digits, none for counts, or a dash where a number is not defined."""
    if value is None or value != value:
        return "-"
    return f"{value:{sign}.2f}" if unit else f"{value:{sign}.0f}"
