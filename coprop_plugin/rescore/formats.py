"""A comparison as JSON, CSV, LaTeX and text. Names in it come from folders and tables, so every format escapes them."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from .comparison import Comparison, Row
from .folder import json_bytes
from .tables import Table, columns, reference_tables, result_tables

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
}
_CSV_COLUMNS = (
    *("origin", "method", "subset", "protocol", "metric", "unit", "videos", "before", "after", "change"),
    *("low", "high", "level", "better", "worse", "same", "p_sign", "p_flip"),
)


def to_json(comparison: Comparison) -> bytes:
    """Everything, numbers with every digit; intervals and values in the unit of their row."""
    return json_bytes(as_dict(comparison))


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data."""
    manifest = comparison.manifest
    return {
        "dataset": {k: manifest["dataset"][k] for k in ("layout", "split", "moc")}
        | {"videos": len(manifest["dataset"]["videos"])},
        "configuration": manifest["configuration"],
        "versions": manifest["versions"],
        "rules": dict(comparison.rules),
        "about": {name: dict(about) for name, about in comparison.about.items()},
        "rows": [_row(row) for row in comparison.rows],
        "classes": [asdict(row) for row in comparison.classes],
        "videos": {
            "metric": comparison.ranked_by[0],
            "protocol": comparison.ranked_by[1],
            "from_loss_to_gain": [asdict(video) for video in comparison.videos],
        },
        "published": [asdict(row) for row in comparison.published],
        "failures": [dict(zip(("method", "video", "error"), f, strict=True)) for f in comparison.failures],
        "notes": list(comparison.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        **{k: getattr(row, k) for k in ("method", "subset", "protocol", "metric", "unit", "videos")},
        "before": row.before,
        "after": row.after,
        "change": row.change,
    }
    d, interval = row.difference, row.interval
    if d is None:
        return told
    low, high = interval or (None, None)
    tests = {k: getattr(d, k) for k in ("level", "draws", "better", "worse", "same", "p_sign", "p_flip")}
    return told | {"low": low, "high": high, **tests}


def to_csv(comparison: Comparison) -> bytes:
    """Every number of the run in one row each, and the published ones, told apart by ``origin``.

    A cell of text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for row in comparison.rows:
        writer.writerow({k: csv_cell(v) for k, v in {"origin": "this run", **_row(row)}.items()})
    for p in comparison.published:
        for metric, value in (("M_J", p.m_j), ("M_F", p.m_f)):
            line = {
                "origin": f"published: {p.source}",
                "method": f"{p.method}, {p.backbone}",
                "subset": "all",
                "protocol": p.protocol,
                "metric": metric,
                "unit": "%",
                "after": value,
            }
            writer.writerow({k: csv_cell(v) for k, v in line.items()})
    return text.getvalue().encode("utf-8", "replace")


def csv_cell(value: Any) -> Any:
    """Numbers as they are; text that begins like a formula made harmless."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def to_latex(comparison: Comparison) -> bytes:
    """The tables as ``longtable`` (packages booktabs and longtable), to be included with ``\\input``."""
    parts = ["% needs \\usepackage{booktabs,longtable}"]
    for table in (*result_tables(comparison), *reference_tables(comparison)):
        align = "l" * table.words + "r" * (len(table.header) - table.words)
        lines = [" & ".join(map(latex_cell, row)) + r" \\" for row in (table.header, *table.rows)]
        parts += [
            rf"\begin{{longtable}}{{{align}}}",
            rf"\caption{{{latex_cell(table.title)}. {latex_cell(table.note)}}}\\",
            r"\toprule",
            lines[0],
            r"\midrule\endhead",
            *lines[1:],
            r"\bottomrule",
            r"\end{longtable}",
        ]
    return ("\n".join(parts) + "\n").encode("utf-8", "replace")


def latex_cell(text: str) -> str:
    """Text that LaTeX prints as it stands, on one line."""
    return "".join(_LATEX.get(c, c) for c in _one_line(text))


def to_text(comparison: Comparison) -> bytes:
    """The tables for a terminal or a mail, with rules, notes and failures."""
    parts = [_text_table(table) for table in (*result_tables(comparison), *reference_tables(comparison))]
    rules = [f"{_one_line(name)}: {_one_line(rule)}" for name, rule in comparison.rules.items()]
    about = [f"{_one_line(name)}: {_about(told)}" for name, told in comparison.about.items()]
    notes = [_one_line(note) for note in comparison.notes]
    for title, lines in (("Protocols", rules), ("What was scored", about), ("Notes", notes)):
        if lines:
            parts.append("\n".join([title, *(f"  {line}" for line in lines)]))
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def _text_table(table: Table) -> str:
    rows = [tuple(map(_one_line, row)) for row in (table.header, *table.rows)]
    widths = columns(rows)

    def line(row: tuple[str, ...]) -> str:
        cells = (
            c.ljust(w) if i < table.words else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([table.title, line(rows[0]), *map(line, rows[1:]), table.note])


def _about(told: Any) -> str:
    return f"{told['frames']} frames of {told['videos']} videos, {told['scores']}, compared at {told['size']} ({told['resize']})"


def _one_line(text: str) -> str:
    """Control characters (line ends, terminal escapes) as spaces."""
    return "".join(c if c.isprintable() else " " for c in text)
