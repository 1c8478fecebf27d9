"""Rows of the report's tables: scores under their protocols, resolved settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CoPropError
from ..metrics.scores import label

SCORE_KEYS = ("protocol", "metric", "base", "refined", "unit", "note", "masks")
MAX_CELL = 400  # characters of one setting that are shown


@dataclass(frozen=True)
class ScoreRow:
    """One metric under one protocol, ready to print; ``first`` of its protocol's rows, which are ``span``."""

    protocol: str
    metric: str
    base: str
    refined: str
    change: str
    unit: str
    note: str
    first: bool
    span: int


def score_rows(scores: Sequence[Mapping[str, Any]]) -> list[ScoreRow]:
    """Scores as printable rows, those of one protocol together in the order of their first one.

    Args:
        scores: dicts with ``protocol`` and ``metric`` and, where known, ``base``, ``refined`` (numbers in ``unit``,
            None where undefined), ``unit`` (as "%"), ``note`` and ``masks`` (of hard masks some metrics
            are other numbers).

    Raises:
        CoPropError: a row without protocol or metric, or with other keys.
    """
    for row in scores:
        if not row.get("protocol") or not row.get("metric") or set(row) - set(SCORE_KEYS):
            raise CoPropError(
                f"a score row needs 'protocol' and 'metric' and may have {', '.join(SCORE_KEYS[2:])}; got {dict(row)}."
            )
    order = list(dict.fromkeys(str(row["protocol"]) for row in scores))
    grouped = {name: [row for row in scores if str(row["protocol"]) == name] for name in order}
    return [_score_row(row, i == 0, len(rows)) for rows in grouped.values() for i, row in enumerate(rows)]


def _score_row(row: Mapping[str, Any], first: bool, span: int) -> ScoreRow:
    unit = str(row.get("unit") or "")
    base, refined = row.get("base"), row.get("refined")
    change = "" if base is None or refined is None else number(refined - base, unit, sign="+")
    return ScoreRow(
        protocol=str(row["protocol"]),
        metric=label(str(row["metric"]), str(row.get("masks") or "")),
        base=number(base, unit),
        refined=number(refined, unit),
        change=change,
        unit=unit,
        note=str(row.get("note") or ""),
        first=first,
        span=span,
    )


def number(value: float | None, unit: str = "", *, sign: str = "") -> str:
    """A number for a table: two decimals for percent, three else; a dash where it is not defined."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int):
        return f"{value:{sign}d}".replace("-", "−")
    return f"{value:{sign}.{2 if unit == '%' else 3}f}".replace("-", "−")


def seconds(value_s: float) -> str:
    """A time: hundredths at most, no exponent however long the clip."""
    return f"{value_s:.2f}".rstrip("0").rstrip(".") + " s"


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested settings as ``(dotted name, value)`` rows by name; long values are cut, with their length."""
    return sorted((name, _cut(_shown(value))) for name, value in _flat(settings, ""))


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    """Lists as their items, a dash for what is empty."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "–" if value is None or value == {} or not text else text


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}… ({len(text)} characters)"
