"""Stored results and tables of the paper's study: ``python benchmarks/paper.py DIR``.

DIR is what ``coprop study paper … -o DIR`` wrote. Writes ``benchmarks/results/paper.json``, the tables of ``RESULTS_paper.md``
and that of trained networks in ``RESULTS_plug_in.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pages import SEED, put
from plug_in import PAGE, networks

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "paper.json"
CHANGES = ("M_J change", "alignment change")


def compact(told: dict[str, Any]) -> dict[str, Any]:
    """A study as it is stored: rounded, a row a line of a table and set."""
    rows = []
    for row in told["rows"]:
        if "not run" in row:
            rows.append(row)
            continue
        kept = {k: row[k] for k in ("table", "row", "set", "clips", "base", "points", "propagator", "policy", "data")}
        kept |= {k: _rounded(row[k]) for k in ("M_J", "M_F", "alignment", "J_key", "J_normal")}
        if row["policy"]:
            kept |= {name: [_rounded(x) for x in row[name]] for name in CHANGES}
            kept |= {"worse clips": len(row["harm"]["harmed"]), "worst": _rounded(100 * row["harm"]["worst"])}
        rows.append(kept)
    return {"protocols": told["protocols"], "rows": rows}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1) + 0.0


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """A Markdown table for each of the paper's, by its mark in the page; further seeds have one of their own."""
    rows = [row for row in stored["rows"] if SEED not in row.get("base", "")]
    names = dict.fromkeys(row["table"] for row in rows)
    found = {f"table {n}": "\n".join(_table([row for row in rows if row["table"] == n])) for n in names}
    return found | {"seeds": "\n".join(_seeds(stored["rows"]))}


def _seeds(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Networks that were trained more than once, rows ``NAME`` and ``NAME, seed N``: M_J alone, and what is added."""
    measured = [row for row in rows if row["table"] == "1" and "not run" not in row]
    bases = dict.fromkeys(row["base"] for row in measured)
    again = dict.fromkeys(name.partition(SEED)[0] for name in bases if SEED in name)
    columns = [
        (points, policy, what)
        for policy in ("replace", "consensus")
        for points in ("boundary", "truth")
        for what in CHANGES
    ]
    heads = [f"{policy}, {points}: {what.removesuffix(' change')}" for points, policy, what in columns]
    yield f"| network | library clips | M_J alone | {' | '.join(heads)} | worse: replace, consensus |"
    yield "|---|---|---|" + "---|" * (len(heads) + 1)
    for network in again:
        seeds = [name for name in bases if name.partition(SEED)[0] == network]
        for group in dict.fromkeys(row["set"] for row in measured):
            here = [row for row in measured if row["set"] == group and row["base"] in seeds]
            alone = " / ".join(str(row["M_J"]) for row in here if not row["policy"])
            cells = [
                " / ".join(f"{row[what][0]:+.1f}" for row in here if (row["points"], row["policy"]) == (points, policy))
                for points, policy, what in columns
            ]
            worse = [
                f"{sum(r['worse clips'] for r in here if r['policy'] == policy)} of "
                f"{sum(r['clips'] for r in here if r['policy'] == policy)}"
                for policy in ("replace", "consensus")
            ]
            yield f"| {network} | {group} | {alone} | {' | '.join(cells)} | {', '.join(worse)} |"


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| row | library clips | M_J | change | M_F | alignment | change | J key / normal | worse, worst |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        if "not run" in row:
            yield f"| {row['row']} | not run: {row['not run']} | | | | | | | |"
            continue
        split = "" if row["J_key"] is None else f"{row['J_key']} / {'' if row['J_normal'] is None else row['J_normal']}"
        m_j, aligned = ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*row[name]) if name in row else "" for name in CHANGES)
        worse = f"{row['worse clips']} of {row['clips']}, {row['worst']:+.1f}" if row["policy"] else ""
        yield (
            f"| {row['row']} | {row['set']} | {row['M_J']} | {m_j} | {row['M_F']} | {row['alignment']} | {aligned} | "
            f"{split} | {worse} |"
        )


def written(stored: dict[str, Any]) -> str:
    """The stored results as JSON, a row a line."""
    told = {key: value for key, value in stored.items() if key != "rows"}
    rows = ",\n".join(f"  {json.dumps(row)}" for row in stored["rows"])
    return json.dumps(told)[:-1] + ', "rows": [\n' + rows + "\n]}\n"


def main(folder: str) -> None:
    stored = compact(json.loads((Path(folder) / "study.json").read_text(encoding="utf-8")))
    RESULTS.write_text(written(stored), encoding="utf-8")
    for name, table in tables(stored).items():
        put(HERE / "RESULTS_paper.md", name, table)
    put(PAGE, "networks", "\n".join(networks(stored["rows"])))


if __name__ == "__main__":
    main(sys.argv[1])
