"""Stored results and tables of the plug-in study: ``python benchmarks/plug_in.py [--perfect|--classes] NAME=DIR…``.

Each DIR is what ``coprop study plug-in … -o DIR`` wrote, NAME what its clips are called. Writes
``benchmarks/results/plug_in.json``, the tables of ``RESULTS_plug_in.md`` and the sentence that the README and the results
begin with. ``--perfect``: the studies are of perfect masks alone, of any generators; ``--classes``: of class masks.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pages import SEED, put

from coprop_plugin.datasets.simulators import SIMULATORS
from coprop_plugin.study.harm import wilson

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "plug_in.json"
PAPER = HERE / "results" / "paper.json"
PAGE = HERE / "RESULTS_plug_in.md"
HEADLINE = re.compile(r"On \d+\s+held-out\s+clips\s+\(made.*?with\s+true\s+control\s+points\.(?=\s)", re.DOTALL)
NAMES = list(SIMULATORS)
UNMODELLED = frozenset(NAMES[NAMES.index("drop_touching") :])
EACH = ("lag:1", "lag:2", "linger:1", "early:1", "flicker:1", "perfect", "leak:1", "ignore_sound:1")
GENERATORS = ("truth", "boundary", "changepoint")
STUDIES = ("classes", "perfect", "sets")


def compact(name: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A set's rows as they are stored: one a fault and generator, beside what the base model had."""
    base = {row["base model"]: row for row in told if row["policy"] == "base"}
    rows = []
    for row in told:
        if row["policy"] == "base":
            continue
        before, harm = base[row["base model"]], row["harm"]
        rows.append(
            {
                "base model": row["base model"],
                "control points": row["control points"],
                "alignment before": round(before["alignment"], 1),
                "alignment": round(row["alignment"], 1),
                "best inside segments": round(row["best inside segments"], 1),
                "M_J before": round(before["M_J"], 1),
                "M_J change": [round(x, 1) + 0.0 for x in row["M_J change"]],
                "worse clips": len(harm["harmed"]),
                "worst": round(100 * harm["worst"], 1) + 0.0,
                "tail": round(100 * harm["tail"], 1) + 0.0,
                "harmed": [[clip, round(100 * change, 1)] for clip, change in harm["harmed"]],
            }
        )
    return {"set": name, "part": told[0]["set"], "clips": told[0]["clips"], "rows": rows}


def pooled(sets: Sequence[dict[str, Any]], faults: Sequence[str], generator: str) -> dict[str, float]:
    """Over all clips of all sets: means weighted by clips, and harm."""
    rows = [
        (one["clips"], row)
        for one in sets
        for row in one["rows"]
        if row["base model"] in faults and row["control points"] == generator
    ]
    clips = sum(n for n, _ in rows)

    def mean(value: Any) -> float:
        return float(sum(n * value(row) for n, row in rows) / clips)

    before, after = mean(lambda r: r["alignment before"]), mean(lambda r: r["alignment"])
    room = mean(lambda r: max(r["best inside segments"], r["alignment before"])) - before
    worse = sum(row["worse clips"] for _, row in rows)
    return {
        "clips": clips,
        "before": before,
        "after": after,
        "recovered": 100 * (after - before) / room if room > 0.5 else float("nan"),
        "M_J": mean(lambda r: r["M_J before"]),
        "change": mean(lambda r: r["M_J change"][0]),
        "worse": worse,
        "worst": min(row["worst"] for _, row in rows),
    }


def table(sets: Sequence[dict[str, Any]], generators: Sequence[str]) -> Iterator[str]:
    """Every fault over all sets."""
    yield "| base model | control points | alignment | recovered | M_J | change | worse | worst |"
    yield "|---|---|---|---|---|---|---|---|"
    faults = list(dict.fromkeys(row["base model"] for one in sets for row in one["rows"]))
    groups = [(fault, [fault]) for fault in faults]
    groups.append(("all unmodelled", [f for f in faults if f.partition(":")[0] in UNMODELLED]))
    groups.append(("all", faults))
    for name, of in groups:
        for generator in generators:
            p = pooled(sets, of, generator)
            low, high = wilson(int(p["worse"]), int(p["clips"]))
            recovered = "" if p["recovered"] != p["recovered"] else f"{p['recovered']:.0f} %"
            yield (
                f"| {name} | {generator} | {p['before']:.1f} -> {p['after']:.1f} | {recovered} | {p['M_J']:.1f} | "
                f"{p['change']:+.1f} | {p['worse']:.0f} of {p['clips']:.0f} [{100 * low:.0f}, {100 * high:.0f} %] | {p['worst']:+.1f} |"
            )


def by_set(sets: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Every set: perfect masks, what was recovered of the modelled faults, and harm over all faults."""
    yield "| set | clips | control points | perfect M_J | recovered of lag, linger, early, flicker | M_J, all faults | worse, all faults | worst |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in sets:
        faults = list(dict.fromkeys(row["base model"] for row in one["rows"]))
        for generator in GENERATORS:
            every, perfect = pooled([one], faults, generator), pooled([one], ["perfect"], generator)
            modelled = pooled([one], EACH[:5], generator)
            recovered = "" if modelled["recovered"] != modelled["recovered"] else f"{modelled['recovered']:.0f} %"
            yield (
                f"| {one['set']} | {one['clips']} | {generator} | {perfect['change']:+.1f} | {recovered} | {every['change']:+.1f} | "
                f"{every['worse']:.0f} of {every['clips']:.0f} | {every['worst']:+.1f} |"
            )


def headline(sets: list[dict[str, Any]]) -> str:
    """What the pages say first: the default generator, and beside it the true points and the one that was the default."""
    told = {
        generator: [(one["clips"], row) for one in sets for row in one["rows"] if row["control points"] == generator]
        for generator in GENERATORS
    }
    worse = {generator: sum(row["worse clips"] for _, row in rows) for generator, rows in told.items()}
    perfect = {g: [row for _, row in rows if row["base model"] == "perfect"] for g, rows in told.items()}
    back = {generator: pooled(sets, ["lag:1"], generator)["recovered"] for generator in GENERATORS}
    return (
        f"On {sum(one['clips'] for one in sets)} held-out clips (made of real things, by formula, and composed of real videos; binary masks), "
        f"the defaults changed perfect masks by {min(row['M_J change'][0] for row in perfect['boundary']):+.1f} points of M_J in the worst set (worst clip: "
        f"{min(row['worst'] for row in perfect['boundary']):+.1f}), and {worse['boundary']} of {sum(n for n, _ in told['boundary'])} refined clips over all "
        f"simulated faults lost more than a point (worst: {min(row['worst'] for _, row in told['boundary']):+.1f}); with true control points {worse['truth']}, "
        f"with the generator `changepoint` {worse['changepoint']}, {sum(row['worse clips'] for row in perfect['changepoint'])} of them with perfect masks (worst: {min(row['worst'] for row in perfect['changepoint']):+.1f}). "
        f"Of the alignment that a late base model (`lag:1`) lost and a rule inside segments could win back, {back['boundary']:.0f} % came back with the defaults "
        f"and {back['truth']:.0f} % with true control points."
    )


def written(stored: dict[str, Any]) -> str:
    """The stored results as JSON, a row a line."""
    told = json.dumps({key: value for key, value in stored.items() if key not in STUDIES})[:-1]
    for key in STUDIES:
        sets = [
            f"  {json.dumps({k: v for k, v in one.items() if k != 'rows'})[:-1]}, "
            + '"rows": [\n'
            + ",\n".join(f"   {json.dumps(row)}" for row in one["rows"])
            + "\n  ]}"
            for one in stored[key]
        ]
        told += f',\n "{key}": [\n' + ",\n".join(sets) + "\n ]"
    return told + "\n}\n"


def harmed(sets: Sequence[dict[str, Any]], generators: Sequence[str]) -> Iterator[str]:
    """Every clip that lost more than a point."""
    yield "| clip | base model | control points | M_J |"
    yield "|---|---|---|---|"
    for one in sets:
        for row in one["rows"]:
            for clip, change in row["harmed"] if row["control points"] in generators else ():
                yield f"| {clip} | {row['base model']} | {row['control points']} | {change:+.1f} |"


def perfect(sets: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Perfect masks, each generator: the change of alignment and of M_J over all sets, and in the worst of them."""
    yield "| control points | clips | alignment | M_J | worst set | worse | worst clip |"
    yield "|---|---|---|---|---|---|---|"
    for generator in dict.fromkeys(row["control points"] for one in sets for row in one["rows"]):
        p = pooled(sets, ["perfect"], generator)
        rows = [row for one in sets for row in one["rows"] if row["control points"] == generator]
        yield (
            f"| `{generator}` | {p['clips']} | {p['after'] - p['before']:+.1f} | {p['change']:+.1f} | "
            f"{min(row['M_J change'][0] for row in rows):+.1f} | {p['worse']} | {p['worst']:+.1f} |"
        )


def classes(sets: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Class masks: every fault under true points and the default generator."""
    generators = GENERATORS[:2]
    yield f"| base model | alignment | {' | '.join(generators)} | M_J | {' | '.join(generators)} |"
    yield "|---" * (3 + 2 * len(generators)) + "|"
    for fault in dict.fromkeys(row["base model"] for one in sets for row in one["rows"]):
        of = [pooled(sets, [fault], generator) for generator in generators]
        after = " | ".join(f"{p['after']:.1f}" for p in of)
        change = " | ".join(f"{p['change']:+.1f} ({p['worse']} worse, {p['worst']:+.1f})" for p in of)
        yield f"| {fault} | {of[0]['before']:.1f} | {after} | {of[0]['M_J']:.1f} | {change} |"


def networks(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Masks of trained networks under the defaults: of the paper's table 1 on library clips (``results/paper.json``)."""
    of = [row for row in rows if row["table"] == "1" and row.get("policy") == "consensus"]
    for points in dict.fromkeys(row["points"] for row in of):
        told = [row for row in of if row["points"] == points]
        worse, clips = sum(row["worse clips"] for row in told), sum(row["clips"] for row in told)
        yield f"With the points of `{points}` {worse} of {clips} refined clips lost more than a point."
    yield from (
        "",
        "| set | network | control points | alignment | M_J | worse | worst |",
        "|---|---|---|---|---|---|---|",
    )
    for row in (row for row in of if SEED not in row["base"]):
        before = row["alignment"] - row["alignment change"][0], row["M_J"] - row["M_J change"][0]
        yield (
            f"| {row['set']} | {row['base']} | {row['points']} | {before[0]:.1f} -> {row['alignment']} | "
            f"{before[1]:.1f} -> {row['M_J']} | {row['worse clips']} of {row['clips']} | {row['worst']:+.1f} |"
        )


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by the name between whose marks each stands."""
    sets = stored["sets"]
    lines = {
        "sets": by_set(sets),
        "faults": table(sets, GENERATORS[:2]),
        "harmed": harmed(sets, GENERATORS),
        "perfect": perfect(stored["perfect"]),
        "classes": classes(stored["classes"]),
        "networks": networks(json.loads(PAPER.read_text(encoding="utf-8"))["rows"]),
    }
    return {name: "\n".join(of) for name, of in lines.items()}


def main(given: Sequence[str]) -> None:
    sets, key = [], next((key for key in STUDIES if f"--{key}" in given), "sets")
    for text in given:
        name, known, folder = text.partition("=")
        if known:
            study = json.loads((Path(folder) / "study.json").read_text(encoding="utf-8"))
            sets.append(compact(name, study) | {"masks": "of classes" if key == "classes" else "binary"})
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    stored[key] = sets or stored.get(key, [])
    RESULTS.write_text(written(stored), encoding="utf-8")
    for name, text in tables(stored).items():
        put(PAGE, name, text)
    sentence = textwrap.fill(headline(stored["sets"]), 118, break_on_hyphens=False)
    for path in (PAGE, HERE / "RESULTS.md", HERE.parent / "README.md"):
        text, count = HEADLINE.subn(sentence, path.read_text(encoding="utf-8"))
        assert count == 1, path
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
