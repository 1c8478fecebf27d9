"""Sound as evidence, and what wrong sources cost: ``python benchmarks/evidence.py LIBRARY [PART…]``.

MOC-like clips of the library's test part, 96 px, ``boundary``'s control points. Parts: ``classes`` (semantic masks in AVSBench's words),
``pictures`` (binary masks, objects told by their pictures) and ``wrong`` (an ear or control points that are wrong). Writes
``benchmarks/results/plug_in.json`` and the tables of ``RESULTS_plug_in.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plug_in
from pages import put

from coprop_plugin import parts
from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.made import MadeClips
from coprop_plugin.datasets.objects.library import open_library
from coprop_plugin.datasets.simulators import SIMULATORS, simulate
from coprop_plugin.fusion.base import FusionPolicy
from coprop_plugin.fusion.consensus import Consensus
from coprop_plugin.fusion.evidence import Hearing, InstalledYamNet
from coprop_plugin.structures import Clip, ControlPoints, Origin, Prediction
from coprop_plugin.structures.frozen import locked
from coprop_plugin.study.cases import Case, made_cases
from coprop_plugin.study.harm import WORSE_BY
from coprop_plugin.study.plug_in import evaluate

SIZE = 96
CLIPS = {"classes": 9, "pictures": 8, "wrong": 9}
FAULTS = {
    "classes": tuple(SIMULATORS),
    "pictures": ("perfect", "lag", "ignore_sound", "leak", "flicker", "wrong_object"),
    "wrong": ("perfect", "lag", "ignore_sound", "leak"),
}
MISTAKES = ("a second late", "30 % missing", "30 % added")
HELD = {"as facts": "points of a file", "as answers": "rcpg"}  # who is said to have given wrong control points
RANDOM_SHARE = 0.3


@dataclass
class Ear:
    """An ear that hears every clip once; ``wrong``: in half of its windows it takes classes for others."""

    ear: Hearing
    wrong: bool = False
    last: tuple[Clip | None, Any] = (None, None)

    def tags(self, clip: Clip) -> Any:
        if self.last[0] is not clip:
            told = self.ear.tags(clip)
            if self.wrong:
                rng = np.random.default_rng(int(clip.clip_id.rpartition("_")[2]))
                logits, bad = told.logits.copy(), rng.random(len(told.logits)) < 0.5
                logits[bad] = logits[bad][:, rng.permutation(logits.shape[1])]
                told = replace(told, logits=logits)
            self.last = clip, told
        return self.last[1]


def mistaken(points: ControlPoints, mistake: str, *, by: str, seed: int) -> ControlPoints:
    """True control points with a generator's mistakes, said to be its own; no silence is told."""
    rng, flags = np.random.default_rng(seed), points.flags.copy()
    if mistake == "a second late":
        flags[1:] = np.append(False, flags[1:-1])
    elif mistake == "30 % missing":
        flags[1:] &= rng.random(len(flags) - 1) >= RANDOM_SHARE
    elif mistake == "30 % added":
        flags[1:] |= rng.random(len(flags) - 1) < RANDOM_SHARE
    return ControlPoints(flags, origin=Origin(by))


def base_of(case: Case, fault: str) -> Prediction:
    """What a faulty base model says, in memory."""
    made = simulate(case.scene, fault, strength=1, seed=case.seed)
    return Prediction(locked(np.asarray(made.scores)), made.kind, made.class_ids, names=made.names, source=fault)


def methods(part: str, case: Case, ear: Ear, wrong: Ear) -> Iterator[tuple[str, ControlPoints, FusionPolicy[Any]]]:
    """Name, control points and policy of each column."""
    heard = parts.build("control_points", "boundary")(case.clip)
    if part == "classes":
        yield "paper", heard, parts.build("fusion", "replace")
    if part != "wrong":
        yield "consensus", heard, Consensus()
        yield "consensus + evidence", heard, Consensus(evidence=ear, look=part == "pictures")
        return
    facts = mistaken(case.points, "none", by=HELD["as facts"], seed=0)
    yield "consensus", facts, Consensus()
    for held, by in HELD.items():
        for mistake in MISTAKES:
            yield f"{mistake}, held {held}", mistaken(case.points, mistake, by=by, seed=case.seed), Consensus()
    yield "consensus + evidence", facts, Consensus(evidence=ear)
    yield "tagger wrong half of the time", facts, Consensus(evidence=wrong)


def measured(library: str, part: str) -> list[dict[str, Any]]:
    """A row a fault and method."""
    clips = MadeClips(
        "moc", range(CLIPS[part]), open_library(library), "test", "all" if part == "pictures" else "avsbench"
    )
    ear, flow = InstalledYamNet(), parts.build("propagator", "flow")
    heard, wrong = Ear(ear), Ear(ear, wrong=True)
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for case in made_cases(clips, size=SIZE, labelling="binary" if part == "pictures" else "semantic"):
        columns = list(methods(part, case, heard, wrong))
        for fault in FAULTS[part]:
            base = base_of(case, fault)
            for name, points, policy in [("base", None, None), *columns]:
                refined = base if policy is None else CoProp(control_points=points, propagator=flow, fusion=policy)(case.clip, base).prediction  # fmt: skip
                told = evaluate(refined, case.truth, case.points)
                values.setdefault((fault, name), []).append((told["alignment"], told["M_J"]))
        print(part, case.name, flush=True)
    rows = []
    for (fault, name), of in values.items():
        change = np.array(of)[:, 1] - np.array(values[fault, "base"])[:, 1]
        alignment, m_j = (100 * np.mean(of, axis=0)).round(1).tolist()
        row = {"base model": fault, "method": name, "clips": len(of), "alignment": alignment, "M_J": m_j}
        harm = {"worse clips": int((change < -WORSE_BY).sum()), "worst": round(100 * change.min(), 1) + 0.0}
        rows.append(row if name == "base" else row | harm)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Alignment / M_J (clips worse) of every fault under every method."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = [f"| base model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for fault in dict.fromkeys(row["base model"] for row in rows):
        cells = [
            f"{row['alignment']:.1f} / {row['M_J']:.1f}" + (f" ({row['worse clips']})" if "worst" in row else "")
            for row in rows
            if row["base model"] == fault
        ]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(library: str, *of: str) -> None:
    for part in of or CLIPS:
        rows = measured(library, part)
        stored = json.loads(plug_in.RESULTS.read_text(encoding="utf-8"))
        stored["evidence"][part] = rows
        plug_in.RESULTS.write_text(plug_in.written(stored), encoding="utf-8")
        put(plug_in.PAGE, f"evidence: {part}", table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
