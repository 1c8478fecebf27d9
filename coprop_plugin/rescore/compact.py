"""A comparison as the table that fits a paper's column: methods by M_J, M_F and alignment, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from ..metrics.scores import SOFT
from .comparison import ALL, Comparison
from .formats import latex_cell
from .rows import Row
from .tables import number

SIDES = ("before", "after")


def to_compact_latex(comparison: Comparison) -> bytes:
    """A ``tabular`` for each subset (package booktabs), to be included with ``\\input``; its last line is the protocol.

    The best of each number as printed is bold, unless methods were scored on other videos or by other kinds of masks.
    """
    parts = [r"% needs \usepackage{booktabs}"]
    parts += [f"% {latex_cell(name)}: {latex_cell(rule)}" for name, rule in comparison.rules.items()]
    for subset in dict.fromkeys(row.subset for row in comparison.rows):
        parts += _tabular(comparison, subset)
    return ("\n".join(parts) + "\n").encode("utf-8", "replace")


def _tabular(comparison: Comparison, subset: str) -> list[str]:
    columns = _columns([row for row in comparison.rows if row.subset == subset])
    if not columns:
        return [f"% {latex_cell(subset)}: neither M_J, M_F nor an alignment rate was scored"]
    methods = list(dict.fromkeys(row.method for column in columns for row in column))
    cells = [_cells(column, methods) for column in columns]
    heads = [rf"\multicolumn{{2}}{{c}}{{{latex_cell(column[0].metric)}}}" for column in columns]
    rules = [rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(len(columns))]
    lines = [" & ".join([latex_cell(m), *(c for column in cells for c in column[m])]) for m in methods]
    width = 1 + 2 * len(columns)
    return [
        rf"\begin{{tabular}}{{l{'rr' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *heads]) + r" \\",
        "".join(rules),
        " & ".join(["Method", *SIDES * len(columns)]) + r" \\",
        r"\midrule",
        *(rf"{line} \\" for line in lines),
        r"\bottomrule",
        rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {latex_cell(_protocol_line(comparison, subset, columns))}}} \\",
        r"\end{tabular}",
    ]


def _columns(rows: Sequence[Row]) -> list[list[Row]]:
    """M_J and M_F under the first protocol that has them, and the first alignment rate; a row a method."""
    found: dict[str, list[Row]] = {}
    for wanted in ("M_J", "M_F", "alignment_"):
        fits = [
            r for r in rows if r.headline and (r.metric.startswith(wanted) if wanted[-1] == "_" else r.metric == wanted)
        ]
        if fits:
            found[wanted] = [r for r in fits if (r.protocol, r.metric) == (fits[0].protocol, fits[0].metric)]
    return list(found.values())


def _cells(column: Sequence[Row], methods: Sequence[str]) -> dict[str, list[str]]:
    """Method -> its two cells of one number; a dash where it has none."""
    values = {(row.method, side): getattr(row, side) for row in column for side in SIDES}
    shown = [float(number(value)) for value in values.values() if value is not None]
    alike = len({(row.videos, row.masks) for row in column}) == 1
    best = number(max(shown)) if shown and alike else None

    def cell(value: float | None) -> str:
        text = latex_cell(number(value))
        return rf"\textbf{{{text}}}" if best is not None and number(value) == best else text

    return {method: [cell(values.get((method, side))) for side in SIDES] for method in methods}


def _protocol_line(comparison: Comparison, subset: str, columns: Sequence[Sequence[Row]]) -> str:
    """What the numbers are of, by which rules, and what bold means."""
    dataset = comparison.manifest["dataset"]
    rows = [row for column in columns for row in column]
    counts = {row.method: row.videos for row in rows}
    one = len(set(counts.values())) == 1
    videos = f"{rows[0].videos} videos" if one else ", ".join(f"{m}: {n} videos" for m, n in counts.items())
    where = f"{dataset['layout'].upper()} {dataset['split']}" + ("" if subset == ALL else f", subset {subset}")
    by_protocol: dict[str, list[str]] = {}
    for column in columns:
        by_protocol.setdefault(column[0].protocol, []).append(_with_masks(column))
    rules = "; ".join(f"{', '.join(names)}: protocol {protocol}" for protocol, names in by_protocol.items())
    return (
        f"{where}, {videos}; percent. {rules}. Bold: the best of a number where all are of the same videos and masks."
    )


def _with_masks(column: Sequence[Row]) -> str:
    """The metric, with the methods whose hard masks make it another number."""
    of = {row.method: row.masks for row in column if row.masks not in ("", SOFT)}
    if not of:
        return column[0].metric
    if len(set(of.values())) == 1 and len(of) == len(column):
        return f"{column[0].metric} of {column[0].masks}"
    return f"{column[0].metric} ({', '.join(f'{method}: {masks}' for method, masks in of.items())})"
