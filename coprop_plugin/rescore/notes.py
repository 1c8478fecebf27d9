"""Sentences that a comparison owes its reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .plan import RunPlan
from .rows import Row


def notes_of_videos(plan: RunPlan, counts: Mapping[str, int]) -> Iterable[str]:
    """Which videos the numbers are of; ``counts`` are those that each method was scored on."""
    yield from plan.notes
    if plan.moc is not None and not plan.moc:
        yield "No MOC subset: the set of sounding classes changes in no MS3 video of this split."
    whole = len(plan.videos)
    for name, count in counts.items():
        if count < whole:
            yield f"{name}: {count} of {whole} videos; the others failed, so its numbers are not those of the split."
    if len(set(counts.values())) > 1:
        yield "The methods were scored on different videos; compare their numbers with care."


def notes_of_intervals(rows: Sequence[Row]) -> Iterable[str]:
    """Where a mean over classes is drawn from few videos, the percentile interval can miss the change itself."""
    beside = sorted({f"{row.name} ({row.protocol})" for row in rows if row.headline and _misses(row)})
    if beside:
        yield (
            f"Some intervals do not hold the change itself: {', '.join(beside)}. Such numbers are means over classes: a "
            "draw of few videos lacks some classes, and a class that is not there counts 0."
        )


def _misses(row: Row) -> bool:
    if row.interval is None or row.change is None:
        return False
    low, high = row.interval
    return not low - 1e-9 <= row.change <= high + 1e-9
