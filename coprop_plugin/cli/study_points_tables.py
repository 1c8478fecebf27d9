"""The tables of ``coprop study control-points`` on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ..metrics.scores import label
from .terminal import console

COLUMNS = {
    "F1@0": "F1@0",
    "F1@1": "F1@1",
    "F1@2": "F1@2",
    "precision@0": "P@0",
    "recall@0": "R@0",
    "exact_list": "exact",
    "error_s": "error s",
    "segment_F1": "names F1",
    "calls": "calls",
    "fallbacks": "fell back",
    "seconds": "s a clip",
    "cpu_ms": "CPU ms",
}


def render(told: dict[str, Any]) -> None:
    """A set of clips after the other: how lists agree, then what they do to base predictions."""
    out = console(width=180)
    for name in dict.fromkeys(row["clips_from"] for row in (*told["rows"], *told["propagation"])):
        here = [row for row in told["rows"] if row["clips_from"] == name]
        out.print(f"{name}{_facts(here)}", style="bold")
        if here:
            out.print(_agreement(here), "")
        refined = [row for row in told["propagation"] if row["clips_from"] == name]
        if refined:
            out.print(
                f"after propagation ({refined[-1]['propagator']}), percent; protocol {refined[0]['protocol']}; the policy "
                "replace is the paper's, consensus the default"
            )
            out.print(_propagation(refined), "")
    if told["published"]:
        out.print(f"published, for comparison: {told['published'][0]['source']}")
        out.print(_published(told["published"]), "")
    legend = (
        "'exact' is the share of clips with the right list, 'names F1' that of what is said to sound (segment-based, frame by frame), 'calls' the questions that went to a model in all, 'fell "
        "back' the clips where another generator stood in, 's' and 'CPU ms' wall and processor time a clip."
    )
    for text in (*told["notes"], f"{told['rule']} {legend}"):
        out.print(text, style="dim")


def _facts(rows: list[dict[str, Any]]) -> str:
    return f": {rows[0]['clips']} clips, {rows[0]['changes_true']} changes" if rows else ""


def _agreement(rows: list[dict[str, Any]]) -> Table:
    table = Table("generator", box=None, pad_edge=False, header_style="bold")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    answering = any(row["answers_by"] for row in rows)
    if answering:
        table.add_column("answers by")
    for row in rows:
        cells = [_cell(row[column]) for column in COLUMNS]
        table.add_row(row["generator"], *cells, *([row["answers_by"] or ""] if answering else []))
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _propagation(rows: list[dict[str, Any]]) -> Table:
    table = Table("base model", "control points", "policy", box=None, pad_edge=False, header_style="bold")
    for title in ("M_J", "change", "95 % interval", "M_F", "alignment"):
        table.add_column(title, justify="right")
    for row in rows:
        change = row["M_J change"]
        table.add_row(
            *(row[name] for name in ("base", "control_points", "policy")),
            f"{row['M_J']:.1f}",
            "" if change is None else f"{change[0]:+.1f}",
            "" if change is None else f"{change[1]:+.1f} to {change[2]:+.1f}",
            label(f"{row['M_F']:.1f}", row["masks"]),
            f"{row['alignment']:.1f}",
        )
    return table


def _published(rows: list[dict[str, Any]]) -> Table:
    table = Table("control points", box=None, pad_edge=False, header_style="bold")
    for title in ("MS3 M_J", "MS3 M_F", "S4 M_J", "S4 M_F"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(f"{row['control_points']} (published)", *(f"{value:.2f}" for value in (*row["ms3"], *row["s4"])))
    return table
