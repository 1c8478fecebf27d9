"""A comparison as JSON, CSV, LaTeX and text. Names in it come from folders and tables, so every format escapes them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .comparison import Comparison
from .folder import json_bytes
from .rows import ClassRow, Row
from .tables import Table, columns, reference_tables, result_tables

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # full-width ones too
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
    '"': r"\texttt{\char34}",  # \textquotedbl is an error in LaTeX's default encoding
    "`": r"\textasciigrave{}",
    "\0": "{}",
    "[": "{[}",  # at the beginning of a row it would belong to the row end before, as * would
    "]": "{]}",
    "*": "{*}",
    "–": "--",
}
_CSV_COLUMNS = (
    *(
        "origin",
        "method",
        "subset",
        "protocol",
        "metric",
        "masks",
        "unit",
        "videos",
        "frames",
        "before",
        "after",
        "change",
    ),
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
        **{k: getattr(row, k) for k in ("method", "subset", "protocol", "metric", "masks", "unit", "videos")},
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
    """Every number of the run in one row each, classes included, and the published ones, told apart by ``origin``.

    A cell of text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    own = (*map(_row, comparison.rows), *(line for row in comparison.classes for line in _class_lines(row)))
    for line in (*({"origin": "this run", **line} for line in own), *_published_lines(comparison)):
        writer.writerow({k: csv_cell(v) for k, v in line.items()})
    return text.getvalue().encode("utf-8", "replace")


def _class_lines(row: ClassRow) -> Iterator[dict[str, Any]]:
    """One line a metric."""
    shared = {k: getattr(row, k) for k in ("method", "protocol", "frames")}
    for metric, before, after in (("M_J", row.before_j, row.after_j), ("M_F", row.before_f, row.after_f)):
        change = None if before is None or after is None else after - before
        values = {"metric": metric, "unit": "%", "before": before, "after": after, "change": change}
        yield {"subset": f"class {row.name}", **shared, **values}


def _published_lines(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for p in comparison.published:
        where = {"origin": f"published: {p.source}", "method": f"{p.method}, {p.backbone}", "protocol": p.protocol}
        for metric, value in (("M_J", p.m_j), ("M_F", p.m_f)):
            yield {**where, "subset": "all", "metric": metric, "unit": "%", "after": value}


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
        lines = [_latex_row(row, words=table.words) for row in (table.header, *table.rows)]
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


def _latex_row(cells: tuple[str, ...], *, words: int) -> str:
    """Cells of words, then of numbers, whose minus is one."""
    numbers = (re.sub(r"(?<!\S)-(?=\d)", "$-$", latex_cell(cell)) for cell in cells[words:])
    return " & ".join((*map(latex_cell, cells[:words]), *numbers)) + r" \\"


def latex_cell(text: str) -> str:
    """Text that LaTeX prints as it stands, on one line."""
    apart = re.sub("-(?=-)", "-\0", _one_line(text))  # hyphens side by side would become a dash
    return "".join(_LATEX.get(c, c) for c in apart)


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
    notes = "".join(f"; {note}" for note in told.get("notes", ()))
    return (
        f"{told['frames']} frames of {told['videos']} videos, {told['scores']}, compared at {told['size']} "
        f"({told['resize']}){notes}"
    )


def _one_line(text: str) -> str:
    """Control characters (line ends, terminal escapes) as spaces."""
    return "".join(c if c.isprintable() else " " for c in text)
