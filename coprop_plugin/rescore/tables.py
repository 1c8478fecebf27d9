"""A comparison as tables of plain text; each format escapes their cells in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..metrics.scores import SOFT
from .comparison import ALL, Comparison
from .rows import Row

DASH = "–"


@dataclass(frozen=True)
class Table:
    """A table of unescaped text.

    Attributes:
        title: above it.
        header: names of the columns.
        rows: as many cells each.
        words: columns of text (left-aligned); the others are numbers.
        note: below it.
        groups: leading columns whose cells head the rows that share them, where a format can show that.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    note: str = ""
    groups: int = 0


def result_tables(comparison: Comparison) -> list[Table]:
    """The scores on every subset, and what failed."""
    subsets = dict.fromkeys(row.subset for row in comparison.rows)
    made = [*(_scores(comparison, subset) for subset in subsets), _failures(comparison)]
    return [table for table in made if table.rows]


def reference_tables(comparison: Comparison) -> list[Table]:
    """The run beside published numbers, and the scores of each class."""
    return [table for table in (_published(comparison), _classes(comparison)) if table.rows]


def _scores(comparison: Comparison, subset: str) -> Table:
    """Metric after metric, so that the methods stand one below the other."""
    rows = [row for row in comparison.rows if row.subset == subset and row.headline]
    metrics = list(dict.fromkeys((row.protocol, row.name) for row in rows))
    rows.sort(key=lambda row: metrics.index((row.protocol, row.name)))
    dataset = comparison.manifest["dataset"]
    where = f"{dataset['layout'].upper()} {dataset['split']}"
    return Table(
        title=where if subset == ALL else f"{where}, subset {subset}",
        header=(
            "Metric",
            "Protocol",
            "Method",
            "Videos",
            "Before",
            "After",
            "Change",
            "95 % interval",
            "Better / worse",
            "p (sign)",
        ),
        rows=tuple(_score_cells(row) for row in rows),
        words=3,
        note="Shares in percent. Intervals: paired bootstrap over videos; p: two-sided sign test over videos. No "
        "interval where a protocol scores several videos together.",
        groups=_groups(comparison),
    )


def _groups(comparison: Comparison) -> int:
    """The metric (or class) and its protocol head the rows of several methods; one method needs no heads."""
    return 2 if len(comparison.manifest["methods"]) > 1 else 0


def _score_cells(row: Row) -> tuple[str, ...]:
    interval, d = row.interval, row.difference
    unit = "" if row.unit in ("%", "") else f" ({row.unit})"
    return (
        row.name + unit,
        row.protocol,
        row.method,
        str(row.videos),
        number(row.before),
        number(row.after),
        number(row.change, sign="+"),
        DASH if interval is None else f"{number(interval[0], sign='+')} to {number(interval[1], sign='+')}",
        DASH if d is None else f"{d.better} / {d.worse}",
        DASH if d is None else p_value(d.p_sign),
    )


def _published(comparison: Comparison) -> Table:
    published = [
        (f"{p.method} (published)", p.backbone, p.protocol, p.source, printed(p.m_j), printed(p.m_f))
        for p in comparison.published
    ]
    return Table(
        title="Beside published numbers",
        header=("Method", "Backbone", "Protocol", "Source", "M_J", "M_F"),
        rows=(*_own(comparison), *published) if published else (),
        words=4,
        note="Published numbers as printed, not computed here: test split of the real data set. Compare them with numbers "
        "of this run under the same protocol only.",
    )


def _own(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """This run's own M_J and M_F, before and after, in the columns of published ones."""
    whole = [row for row in comparison.rows if row.subset == ALL]
    for method, protocol in dict.fromkeys((row.method, row.protocol) for row in whole):
        of = {row.metric: row for row in whole if (row.method, row.protocol) == (method, protocol)}
        if {"M_J", "M_F"} <= of.keys():
            rule = f"{protocol}, M_F of {of['M_F'].masks}" if of["M_F"].masks not in ("", SOFT) else protocol
            for side in ("before", "after"):
                values = (number(getattr(of[metric], side)) for metric in ("M_J", "M_F"))
                yield (f"{method}, {side}", DASH, rule, "this run", *values)


def _classes(comparison: Comparison) -> Table:
    rows = sorted(comparison.classes, key=lambda c: c.class_id)
    return Table(
        title="Per class",
        header=("Class", "Protocol", "Method", "Frames", "M_J before", "M_J after", "M_F before", "M_F after"),
        rows=tuple(
            (
                c.name,
                c.protocol,
                c.method,
                str(c.frames),
                *map(number, (c.before_j, c.after_j, c.before_f, c.after_f)),
            )
            for c in rows
        ),
        words=3,
        note="Means over the frames in which the truth or the prediction shows the class.",
        groups=_groups(comparison),
    )


def _failures(comparison: Comparison) -> Table:
    return Table(
        title="Failed videos",
        header=("Method", "Video", "Why"),
        rows=comparison.failures,
        words=3,
        note="Mend them and run the same command with --retry-failed.",
    )


def number(value: float | None, *, sign: str = "") -> str:
    """Two decimals; whole counts as they are; a dash where a number is not defined."""
    if value is None or value != value:
        return DASH
    return f"{value:{sign}d}" if isinstance(value, int) else f"{value:{sign}.2f}"


def printed(value: float) -> str:
    """A published number with the digits of its table: one, or two where it has them."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def columns(rows: Iterable[Sequence[str]]) -> list[int]:
    """The width of each column in characters."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
