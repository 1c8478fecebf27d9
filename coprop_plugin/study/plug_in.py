"""What the plug-in does to imperfect base models, with good and bad control points: the table of ``study plug-in``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import parts
from ..coprop import CoProp
from ..datasets.simulators import SIMULATORS as RULES, simulate
from ..metrics.bootstrap import paired_bootstrap
from ..metrics.protocols import score
from ..structures import ControlPoints, Prediction, Result
from ..structures.frozen import locked
from .bound import objects_shown, within_segment_bound
from .cases import Case
from .harm import WORSE_BY, harm

PROTOCOLS = {
    "alignment": "alignment: alignment_set where there are classes, alignment_binary@0.5 for one foreground; of label maps",
    "M_J": "avsbench: of any object, of label maps",
    "excess_flicker": "temporal: portions by the true control points; of label maps",
}
METRICS = tuple(PROTOCOLS)
SIMULATORS = tuple(RULES)
TRUTH = "truth"  # stands among the generators for the true control points
GENERATORS = (TRUTH, "boundary")
PROPAGATORS = ("flow",)
POLICIES = ("consensus",)
MOST_REPORTS = 50  # pages of harmed clips


@dataclass(frozen=True)
class Setting:
    """One row of the table: the base model's fault, and the parts that mend it (``None``: the base model alone)."""

    simulator: str
    strength: int
    generator: str | None = None
    propagator: str | None = None
    policy: str | None = None


@dataclass
class Row:
    """Per-clip values of one setting, ``metric -> (clips,)``, and what the base model and the bound reach there.

    ``clips`` names them; ``held_out``: nothing was fitted on any of them; ``reports``: harmed clip -> its page.
    """

    setting: Setting
    clips: list[str] = field(default_factory=list)
    held_out: bool = True
    values: dict[str, list[float]] = field(default_factory=lambda: {m: [] for m in METRICS})
    bound: list[float] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)


def evaluate(prediction: Prediction, truth: Prediction, points: ControlPoints) -> dict[str, float]:
    """Alignment, M_J and excess flicker of one clip, as shares, each under its protocol (:data:`PROTOCOLS`).

    Both are read as label maps: the plug-in gives probabilities where it edits, and like is compared with like.
    Without two frames inside one true segment nothing can flicker: 0.
    """
    predicted, any_object = prediction.hardened(), (_any_object(prediction), _any_object(truth))
    scores = score(predicted, truth, protocol=["alignment", "temporal"], truth_control_points=points)
    aligned = scores["alignment"]["alignment_binary@0.5" if truth.binary else "alignment_set"]
    excess = scores["temporal"]["excess_flicker"]
    m_j = score(*any_object, protocol="avsbench")["M_J"]
    return {"alignment": aligned, "M_J": m_j, "excess_flicker": excess or 0.0}


def _any_object(prediction: Prediction) -> Prediction:
    """Everything that is not background as one class; ignored pixels stay ignored."""
    labels = np.stack([np.minimum(prediction.label_map(t), 1) for t in range(prediction.num_frames)])
    return Prediction.from_labels(locked(labels), source=prediction.source)


def settings(
    simulators: Sequence[str],
    strengths: Sequence[int],
    generators: Sequence[str],
    propagators: Sequence[str],
    policies: Sequence[str],
) -> Iterator[Setting]:
    """Every combination, each base model's own row first; ``perfect`` has one strength.

    A simulator with a strength of its own (``lag:2``) has that one alone.
    """
    for text in simulators:
        simulator, _, own = text.partition(":")
        for strength in [int(own)] if own else strengths if simulator != "perfect" else strengths[:1]:
            yield Setting(simulator, strength)
            for generator in generators:
                for policy in policies:
                    for propagator in propagators:
                        yield Setting(simulator, strength, generator, propagator, policy)


def run(
    cases: Iterator[Case],
    *,
    simulators: Sequence[str] = SIMULATORS,
    strengths: Sequence[int] = (1, 2),
    generators: Sequence[str] = GENERATORS,
    propagators: Sequence[str] = PROPAGATORS,
    policies: Sequence[str] = POLICIES,
    progress: Callable[[str], None] = lambda text: None,
    reports: Path | None = None,
) -> list[Row]:
    """Evaluate every setting on every clip; clips are made and let go one after the other.

    ``reports``: a folder in which every harmed clip gets its page, :data:`MOST_REPORTS` at most.
    """
    rows = {s: Row(s) for s in settings(simulators, strengths, generators, propagators, policies)}
    tools = {name: parts.build("propagator", name) for name in propagators}
    rules = {name: parts.build("fusion", name) for name in policies}
    asked = {name: parts.build("control_points", name) for name in generators if name != TRUTH}
    shown: dict[tuple[str, int], list[np.ndarray]] = {}
    sounding, segments = [], []
    for case in cases:
        progress(case.name)
        sounding.append(np.asarray(case.scene.sounding))
        segments.append(case.points.segments())
        found = {name: asked[name](case.clip) for name in asked if not asked[name].wants_base}
        found |= {TRUTH: case.points}
        for row in rows.values():
            row.clips.append(case.name)
            row.held_out &= case.held_out
        for (simulator, strength), base in _bases(case, rows):
            shown.setdefault((simulator, strength), []).append(objects_shown(base, case.scene))
            _note(rows[Setting(simulator, strength)], evaluate(base, case.truth, case.points))
            points = found | {name: asked[name](case.clip, base=base) for name in asked if asked[name].wants_base}
            for setting, row in rows.items():
                if (setting.simulator, setting.strength) != (simulator, strength) or setting.policy is None:
                    continue
                method = CoProp(
                    control_points=points[str(setting.generator)],
                    propagator=tools[str(setting.propagator)],
                    fusion=rules[setting.policy],
                )
                result = method(case.clip, base)
                _note(row, evaluate(result.prediction, case.truth, case.points))
                lost = rows[Setting(simulator, strength)].values["M_J"][-1] - row.values["M_J"][-1]
                if (
                    reports is not None
                    and lost > WORSE_BY
                    and sum(len(r.reports) for r in rows.values()) < MOST_REPORTS
                ):
                    row.reports[case.name] = _report(result, case, setting, reports)
    for row in rows.values():
        row.bound = within_segment_bound(shown[row.setting.simulator, row.setting.strength], sounding, segments)
    return list(rows.values())


def _report(result: Result, case: Case, setting: Setting, folder: Path) -> str:
    """The page of a harmed clip, and its name in the folder."""
    told = [case.name, *(word for word in _named(setting).values() if word)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(told)) + ".html"
    folder.mkdir(parents=True, exist_ok=True)
    result.report(folder / name, clip=case.clip, truth=case.truth, title=", ".join(told))
    return f"{folder.name}/{name}"


def _bases(case: Case, rows: dict[Setting, Row]) -> Iterator[tuple[tuple[str, int], Prediction]]:
    """The base models of a case, each computed once and held while its settings are run."""
    for setting in rows:
        if setting.policy is None:
            made = simulate(case.scene, setting.simulator, strength=setting.strength, seed=case.seed)
            held = Prediction(locked(np.asarray(made.scores)), made.kind, made.class_ids, source=setting.simulator)
            yield (setting.simulator, setting.strength), held


def _note(row: Row, values: dict[str, float]) -> None:
    for metric, value in values.items():
        row.values[metric].append(value)


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for tables and JSON: means in percent, differences to the base with 95 % intervals over clips.

    ``recovered`` is the share of what the best rule inside segments could win in alignment over the base model.
    """
    base = {(r.setting.simulator, r.setting.strength): r for r in rows if r.setting.policy is None}
    told = []
    for row in rows:
        s, own = row.setting, base[row.setting.simulator, row.setting.strength]
        line: dict[str, Any] = {
            **_named(s),
            "clips": len(row.values["M_J"]),
            "protocols": dict(PROTOCOLS),
            "set": "held-out" if row.held_out else "in-sample",
        }
        for metric in METRICS:
            line[metric] = 100 * float(np.mean(row.values[metric]))
            if s.policy is not None:
                difference = paired_bootstrap(np.array(own.values[metric]), np.array(row.values[metric]))
                line[f"{metric} change"] = [100 * x for x in (difference.delta, difference.low, difference.high)]
        if s.policy is not None:
            line["harm"] = harm(own.values["M_J"], row.values["M_J"], row.clips).as_dict()
            line["reports"] = dict(row.reports)
        won = np.mean(row.values["alignment"]) - np.mean(own.values["alignment"])
        best = max(np.mean(row.bound), np.mean(own.values["alignment"]))  # leaving all as it is is always possible
        room = best - np.mean(own.values["alignment"])
        line["best inside segments"] = 100 * float(best)
        line["recovered"] = float(100 * won / room) if s.policy is not None and room > 0.005 else None
        told.append(line)
    return told


def per_clip(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line a clip and setting: the clip, the setting as in :func:`summary`, and the metrics in percent."""
    return [
        {"clip": clip, **_named(row.setting), **{metric: 100 * row.values[metric][i] for metric in METRICS}}
        for row in rows
        for i, clip in enumerate(row.clips)
    ]


def _named(setting: Setting) -> dict[str, str]:
    perfect = setting.simulator == "perfect"
    return {
        "base model": setting.simulator if perfect else f"{setting.simulator}:{setting.strength}",
        "policy": setting.policy or "base",
        "control points": setting.generator or "",
        "propagator": setting.propagator or "",
    }
