"""What control points do to base predictions: M_J and M_F after propagation, under the paper's policy and the default.

The form of the paper's table 2(b), whose printed numbers stand here to be read beside a study's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import parts
from ..coprop import CoProp
from ..metrics.bootstrap import paired_bootstrap
from ..metrics.protocols import Scorer, score
from ..structures import ControlPoints, Prediction
from .clips import Known

PROTOCOL = "avsbench"

PUBLISHED_SOURCE = (
    "Co-Prop, arXiv 2412.08161, table 2(b): real MS3 and S4 test videos, the paper's own keyframe model (PVT-v2) and "
    "trained propagator, Qwen; printed there, not computed here"
)
# control points: (M_J, M_F) on MS3, on S4, in percent as printed
PUBLISHED = {
    "cosine": ((59.21, 70.45), (81.22, 89.13)),
    "1-step": ((61.05, 70.83), (81.45, 89.22)),
    "3-step": ((61.85, 71.22), (81.72, 89.31)),
    "RCPG": ((63.58, 73.96), (83.71, 90.86)),
}


def published_rows() -> list[dict[str, Any]]:
    """The paper's table 2(b), every row marked."""
    return [
        {"status": "published", "control_points": name, "ms3": list(ms3), "s4": list(s4), "source": PUBLISHED_SOURCE}
        for name, (ms3, s4) in PUBLISHED.items()
    ]


@dataclass
class Propagation:
    """Scores of base predictions, and of what policies and a propagator make of them with several control points.

    Attributes:
        propagator: as ``CoProp`` takes it.
        policies: fusion policies; all that need nothing.
    """

    propagator: Any = "flow"
    policies: Sequence[str] = field(default_factory=lambda: parts.ready("fusion"))
    scorers: dict[tuple[str, str, str], Scorer] = field(default_factory=dict)
    alignments: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.propagator = parts.build("propagator", self.propagator)

    def add(self, known: Known, base_name: str, base: Prediction, points: Mapping[str, ControlPoints]) -> None:
        """Refine one base prediction of a clip with the control points of every generator, and score all."""
        self._score((base_name, "", ""), known, base, None)
        for name, found in points.items():
            for policy in self.policies:
                method = CoProp(control_points=found, propagator=self.propagator, fusion=policy)
                self._score((base_name, name, policy), known, method(known.clip, base).prediction, found)

    def _score(
        self, key: tuple[str, str, str], known: Known, prediction: Prediction, points: ControlPoints | None
    ) -> None:
        assert known.truth is not None and known.pooled is not None  # clips with base predictions have both
        self.scorers.setdefault(key, Scorer(PROTOCOL)).add(known.clip.clip_id, prediction, known.pooled, points)
        aligned = score(prediction, known.truth, protocol="alignment")
        value = aligned["alignment_binary@0.5" if "alignment_binary@0.5" in aligned else "alignment_set"]
        self.alignments.setdefault(key, []).append(value)

    def rows(self) -> list[dict[str, Any]]:
        """A row a base model, generator and policy: M_J, M_F and alignment in percent, and the change of M_J.

        M_J and M_F are pooled over clips; alignment is the mean over clips, by class sets where there are classes. The
        change is the mean over clips with its 95 % bootstrap interval.
        """
        rows = []
        for (base, generator, policy), scorer in self.scorers.items():
            own, before = _per_clip(scorer), _per_clip(self.scorers[base, "", ""])
            scores = scorer.compute()
            change = paired_bootstrap(before, own) if policy else None
            rows.append(
                {
                    "base": base,
                    "control_points": generator,
                    "policy": policy or "base",
                    "propagator": self.propagator.name if policy else "",
                    "protocol": scores.protocol,
                    "masks": scores.masks,
                    "clips": len(own),
                    "M_J": 100 * scores["M_J"],
                    "M_F": 100 * scores["M_F"],
                    "alignment": 100 * float(np.mean(self.alignments[base, generator, policy])),
                    "M_J change": None
                    if change is None
                    else [100 * x for x in (change.delta, change.low, change.high)],
                }
            )
        return rows

    def per_clip(self) -> list[dict[str, Any]]:
        """A line a clip, base model, generator and policy: M_J, M_F and alignment in percent."""
        return [
            {
                "clip": clip,
                "base": base,
                "control_points": generator,
                "policy": policy or "base",
                "M_J": 100 * scores["M_J"],
                "M_F": 100 * scores["M_F"],
                "alignment": 100 * aligned,
            }
            for (base, generator, policy), scorer in self.scorers.items()
            for (clip, scores), aligned in zip(
                scorer.per_video().items(), self.alignments[base, generator, policy], strict=True
            )
        ]


def _per_clip(scorer: Scorer) -> np.ndarray:
    return np.array([scores["M_J"] for scores in scorer.per_video().values()])
