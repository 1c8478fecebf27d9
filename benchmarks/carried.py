"""Stored results and tables of the propagators: ``python benchmarks/carried.py --real FILE… --library NAME=FILE… --study NAME=DIR…``.

Takes what ``real_vos.py --json`` and ``library_vos.py --json`` wrote, and folders of ``coprop study plug-in -o``; what is not
given stays as it is stored. Writes ``benchmarks/results/carried.json`` and the tables of ``RESULTS.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import put

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "carried.json"


def real_rows(file: Path) -> Iterator[dict[str, Any]]:
    """What is stored of a file of ``real_vos.py``."""
    told = json.loads(file.read_text(encoding="utf-8"))
    for row in told["rows"]:
        name = row["propagator"] + (", frames in between" if told["between"] else "")
        yield {**row, "propagator": name, "J": {clip: round(value, 2) for clip, value in row["J"].items()}}


def real_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean J on real video, a line a propagator and step, with each clip."""
    clips = list(rows[0]["J"])
    lines = [f"| every n-th | propagator | {' | '.join(clips)} | mean J |", "|---|---|" + "---|" * (len(clips) + 1)]
    for row in rows:
        each = [row["J"][clip] for clip in clips]
        cells = " | ".join(f"{value:.1f}" for value in [*each, sum(each) / len(each)])
        lines.append(f"| {row['every']} | `{row['propagator']}` | {cells} |")
    return "\n".join(lines)


def library_table(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Mean and worst J on a library's clips, a column a set."""
    lines = [f"| propagator | {' | '.join(sets)} |", "|---|" + "---|" * len(sets)]
    for rows in zip(*sets.values(), strict=True):
        cells = " | ".join(f"{sum(row['J']) / len(row['J']):.1f} / {min(row['J']):.1f}" for row in rows)
        lines.append(f"| `{rows[0]['propagator']}` | {cells} |")
    return "\n".join(lines)


def study_rows(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What is stored of a study's rows."""
    told = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    base = {row["base model"]: row for row in told if row["policy"] == "base"}
    for row in told:
        if row["policy"] == "base":
            continue
        before, recovered = base[row["base model"]], row["recovered"]
        yield {
            "set": name,
            "clips": row["clips"],
            "base model": row["base model"],
            "policy": row["policy"],
            "control points": row["control points"],
            "propagator": row["propagator"],
            "alignment": [round(before["alignment"], 1), round(row["alignment"], 1)],
            "recovered": None if recovered is None else round(recovered),
            "M_J": [round(before["M_J"], 1), round(row["M_J"], 1)],
            "worse clips": len(row["harm"]["harmed"]),
            "worst": round(100 * row["harm"]["worst"], 1) + 0.0,
        }


def study_table(rows: Sequence[Mapping[str, Any]], policy: str) -> str:
    """A policy with every propagator: M_J of the base and after, how many clips are worse, the share that came back."""
    of_policy = [row for row in rows if row["policy"] == policy]
    names = list(dict.fromkeys(row["propagator"] for row in of_policy))
    lines = [
        f"| set | base model | control points | base | {' | '.join(f'`{name}`' for name in names)} |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    places = dict.fromkeys((row["set"], row["base model"], row["control points"]) for row in of_policy)
    for place in places:
        here = {
            row["propagator"]: row
            for row in of_policy
            if (row["set"], row["base model"], row["control points"]) == place
        }
        first = next(iter(here.values()))
        base = f"{first['alignment'][0]:.1f} / {first['M_J'][0]:.1f}"
        lines.append(f"| {' | '.join(place)} | {base} | {' | '.join(_cell(here[name]) for name in names)} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    back = "" if row["recovered"] is None else f", {row['recovered']} %"
    return f"{row['alignment'][1]:.1f} / {row['M_J'][1]:.1f} ({row['worse clips']}, {row['worst']:+.1f}{back})"


def tables(stored: Mapping[str, Any]) -> dict[str, str]:
    """All tables of the page, by their marks."""
    studied = {f"carried: {policy}": study_table(stored["study"], policy) for policy in ("consensus", "replace")}
    return {
        "carried: real": real_table(stored["real"]),
        "carried: library": library_table(stored["library"]),
        **studied,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="*", default=[], metavar="FILE", help="of real_vos.py")
    parser.add_argument("--library", nargs="*", default=[], metavar="NAME=FILE", help="of library_vos.py")
    parser.add_argument("--study", nargs="*", default=[], metavar="NAME=DIR", help="of coprop study plug-in")
    options = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if options.real:
        stored["real"] = sorted((row for file in options.real for row in real_rows(file)), key=lambda row: row["every"])
    if options.library:
        files = dict(given.split("=", 1) for given in options.library)
        stored["library"] = {name: json.loads(Path(file).read_text())["rows"] for name, file in files.items()}
    if options.study:
        folders = dict(given.split("=", 1) for given in options.study)
        stored["study"] = [row for name, folder in folders.items() for row in study_rows(name, Path(folder))]
    RESULTS.write_text(json.dumps(stored, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, table in tables(stored).items():
        put(HERE / "RESULTS.md", name, table)


if __name__ == "__main__":
    main()
