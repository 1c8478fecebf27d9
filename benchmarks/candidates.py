"""What an ear gains by nouns, and what motion says: ``python benchmarks/candidates.py objects:LIBRARY:test:moc:0-8``.

A library's clips with classes (AVSBench's words), and the same as binary masks told by their pictures (``look``), with the
points of ``boundary``. The nouns of a clip are its visible things' true names and two wrong ones, or half of the true ones
are exchanged for wrong ones too. Then what motion says of sounding: in composed clips nothing, by construction. Writes
``benchmarks/results/candidates.json`` and the tables of ``RESULTS_plug_in.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pages import put

from coprop_plugin import parts
from coprop_plugin.audio.tags import Tags, avsbench_table
from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.simulators import simulate
from coprop_plugin.fusion.consensus import Consensus
from coprop_plugin.fusion.evidence import Hearing, InstalledYamNet
from coprop_plugin.fusion.evidence_motion import Movement
from coprop_plugin.fusion.objects import objects_of
from coprop_plugin.structures import Clip
from coprop_plugin.study.cases import Case, made_cases
from coprop_plugin.study.plug_in import evaluate

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "candidates.json"
FAULTS = {
    "classes": ("perfect", "lag", "flicker", "ignore_sound", "leak", "confusion"),
    "pictures": ("perfect", "lag", "ignore_sound", "leak"),
}
WRONG_NOUNS = 2
SIZE_PX = 96


class Once:
    """An ear that listens to a clip once."""

    def __init__(self, ear: Hearing) -> None:
        self._ear = ear
        self._last: tuple[Clip, Tags] | None = None

    def tags(self, clip: Clip) -> Tags:
        if self._last is None or self._last[0] is not clip:
            self._last = clip, self._ear.tags(clip)
        return self._last[1]


def nouns(case: Case, *, half_wrong: bool) -> dict[str, list[str]]:
    """Answers about a clip, A2 naming what is visible and two things that are not."""
    rng = np.random.default_rng(case.seed)
    names = [case.scene.names.get(i, "thing") for i in case.scene.object_class.values()]
    wrong = [str(n) for n in rng.permutation(sorted(set(avsbench_table()) - set(names)))]
    if half_wrong:
        names = [wrong.pop() if i % 2 == case.seed % 2 else name for i, name in enumerate(names)]
    return {case.clip.clip_id: ["A scene.", ", ".join([*names, *wrong[:WRONG_NOUNS]])]}


def policies(case: Case, ear: Once, masks: str) -> Iterator[tuple[str, Consensus]]:
    look = masks == "pictures"
    yield "consensus", Consensus()
    yield "ear", Consensus(evidence=ear, look=look)
    for name, half_wrong in (("ear, nouns", False), ("ear, nouns half wrong", True)):
        yield name, Consensus(evidence=ear, look=look, candidates=nouns(case, half_wrong=half_wrong))
    yield "motion 0.5", Consensus(motion=0.5)


def rows(text: str, masks: str) -> Iterator[tuple[str, str, str, float, float]]:
    """Of each fault, policy and clip: alignment and M_J in percent."""
    ear, flow = Once(InstalledYamNet()), parts.build("propagator", "flow")
    boundary = parts.build("control_points", "boundary")
    made = made_clips(text + (",classes=avsbench" if masks == "classes" else ""))
    for case in made_cases(made, size=SIZE_PX, labelling="semantic" if masks == "classes" else "binary"):
        points = boundary(case.clip)
        for fault in FAULTS[masks]:
            base = simulate(case.scene, fault, strength=1, seed=case.seed)
            tried = [("base", base)]
            for name, policy in policies(case, ear, masks):
                method = CoProp(control_points=points, propagator=flow, fusion=policy)
                tried.append((name, method(case.clip, base).prediction))
            for name, prediction in tried:
                told = evaluate(prediction, case.truth, case.points)
                yield case.name, fault, name, 100 * told["alignment"], 100 * told["M_J"]


def summary(told: list[tuple[str, str, str, float, float]]) -> list[dict[str, Any]]:
    """Means over clips, and harm against the base: clips that lose more than a point of M_J, the worst."""
    of: dict[tuple[str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
    for clip, fault, name, alignment, m_j in told:
        of[fault, name][clip] = alignment, m_j
    out = []
    for (fault, name), clips in of.items():
        values = np.array(list(clips.values()))
        change = values[:, 1] - np.array([of[fault, "base"][clip][1] for clip in clips])
        out.append(
            {
                "base model": fault,
                "method": name,
                "alignment": round(float(values[:, 0].mean()), 1),
                "M_J": round(float(values[:, 1].mean()), 1),
                "worse clips": int((change < -1).sum()),
                "worst": round(float(change.min()), 1) + 0.0,
                "clips": len(clips),
            }
        )
    return out


def motion(text: str) -> dict[str, float]:
    """How much more of an object moves in frames in which it sounds, shown throughout; 0 is nothing."""
    contrast, sounds = [], []
    for case in made_cases(made_clips(text + ",classes=avsbench"), size=SIZE_PX, labelling="semantic"):
        base = simulate(case.scene, "ignore_sound", strength=1, seed=case.seed)
        objects = objects_of(case.clip, base, parts.build("propagator", "flow"))
        moved, truth = (
            Movement(1.0).ask(case.clip, objects),
            np.stack([case.truth.label_map(t) for t in range(len(case.points))]),
        )
        for c in range(objects.present.shape[1]):
            class_id = base.class_ids[objects.channel(c) - 1]
            shown = objects.present[:, c]
            contrast.append(moved.ratio[shown, c])
            sounds.append((truth == class_id).any(axis=(1, 2))[shown])
    x, y = np.concatenate(contrast), np.concatenate(sounds)
    r = float(np.corrcoef(x, y)[0, 1])
    return {"frames": len(x), "correlation": round(r, 3), "half width": round(1.96 / len(x) ** 0.5, 3)}


def table(masks: str, of: list[dict[str, Any]]) -> Iterator[str]:
    names = list(dict.fromkeys(row["method"] for row in of))
    yield f"{masks}, {of[0]['clips']} clips: alignment / M_J (clips worse by more than a point, worst)"
    yield ""
    yield "| base model | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for fault in dict.fromkeys(row["base model"] for row in of):
        cells = [
            f"{row['alignment']:.1f} / {row['M_J']:.1f}"
            + ("" if row["method"] == "base" else f" ({row['worse clips']}, {row['worst']:+.1f})")
            for row in of
            if row["base model"] == fault
        ]
        yield f"| {fault} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", help="objects:LIBRARY:test:moc:A-B")
    args = parser.parse_args()
    found: dict[str, Any] = {"motion": motion(args.clips)}
    print(found["motion"])
    for masks in FAULTS:
        found[masks] = summary(list(rows(args.clips, masks)))
        put(HERE / "RESULTS_plug_in.md", f"candidates: {masks}", "\n".join(table(masks, found[masks])))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
