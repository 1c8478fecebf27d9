"""Sound as evidence, and what wrong sources cost: ``python benchmarks/evidence.py LIBRARY [PART…]``.

MOC-like clips of the library's test part, 96 px, ``boundary``'s control points. Parts: ``classes`` (semantic masks in AVSBench's words),
``pictures`` (binary masks, objects told by their pictures) and ``wrong`` (an ear or control points that are wrong). Writes
``benchmarks/results/plug_in.json`` and the tables of ``RESULTS_plug_in.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import plug_in
from candidates import SIZE_PX, Once, summary
from pages import put

from coprop_plugin import parts
from coprop_plugin.audio.tags import Tags
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
from coprop_plugin.study.plug_in import evaluate

CLIPS = {"classes": 9, "pictures": 8, "wrong": 9}
FAULTS = {
    "classes": tuple(SIMULATORS),
    "pictures": ("perfect", "lag", "ignore_sound", "leak", "flicker", "wrong_object"),
    "wrong": ("perfect", "lag", "ignore_sound", "leak"),
}
MISTAKES = ("a second late", "30 % missing", "30 % added")
HELD = {"as facts": "points of a file", "as answers": "rcpg"}  # who is said to have given wrong control points
RANDOM_SHARE = 0.3


class WrongHalf:
    """An ear that takes classes for others in half of its windows."""

    def __init__(self, ear: Hearing) -> None:
        self._ear = ear

    def tags(self, clip: Clip) -> Tags:
        told = self._ear.tags(clip)
        rng = np.random.default_rng(int(clip.clip_id.rpartition("_")[2]))
        logits, bad = told.logits.copy(), rng.random(len(told.logits)) < 0.5
        logits[bad] = logits[bad][:, rng.permutation(logits.shape[1])]
        return replace(told, logits=logits)


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


def methods(part: str, case: Case, ear: Once, wrong: Once) -> Iterator[tuple[str, ControlPoints, FusionPolicy[Any]]]:
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


def measured(library: str, part: str) -> Iterator[tuple[str, str, str, float, float]]:
    """Of each fault, method and clip: alignment and M_J in percent."""
    clips = MadeClips(
        "moc", range(CLIPS[part]), open_library(library), "test", "all" if part == "pictures" else "avsbench"
    )
    ear, flow = Once(InstalledYamNet()), parts.build("propagator", "flow")
    wrong = Once(WrongHalf(ear))
    for case in made_cases(clips, size=SIZE_PX, labelling="binary" if part == "pictures" else "semantic"):
        columns = list(methods(part, case, ear, wrong))
        for fault in FAULTS[part]:
            base = base_of(case, fault)
            tried = [("base", base)]
            for name, points, policy in columns:
                method = CoProp(control_points=points, propagator=flow, fusion=policy)
                tried.append((name, method(case.clip, base).prediction))
            for name, prediction in tried:
                told = evaluate(prediction, case.truth, case.points)
                yield case.name, fault, name, 100 * told["alignment"], 100 * told["M_J"]
        print(part, case.name, flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Alignment / M_J (clips worse) of every fault under every method."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = [f"| base model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for fault in dict.fromkeys(row["base model"] for row in rows):
        cells = [
            f"{row['alignment']:.1f} / {row['M_J']:.1f}"
            + ("" if row["method"] == "base" else f" ({row['worse clips']})")
            for row in rows
            if row["base model"] == fault
        ]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(library: str, *of: str) -> None:
    for part in of or CLIPS:
        rows = summary(list(measured(library, part)))
        stored = json.loads(plug_in.RESULTS.read_text(encoding="utf-8"))
        stored["evidence"][part] = rows
        plug_in.RESULTS.write_text(plug_in.written(stored), encoding="utf-8")
        put(plug_in.PAGE, f"evidence: {part}", table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
