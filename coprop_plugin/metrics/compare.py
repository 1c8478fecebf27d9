"""Two scorings of the same videos side by side: rows for a table, and every difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..errors import CoPropError
from ..structures import ControlPoints, Prediction
from .bootstrap import Difference, paired_bootstrap_of_sums
from .protocols import score
from .scorer import Scorer
from .scores import Number, Scores
from .sums import stack


def compare(
    before: Scorer, after: Scorer, *, draws: int = 10000, seed: int = 0, level: float = 0.95
) -> dict[str, dict[str, Difference]]:
    """Protocol -> name -> difference ``after - before``, from a paired bootstrap over videos.

    Videos are drawn, their sums added up and every number computed anew, before and after with the same draws.

    Raises:
        CoPropError: other protocols, classes or videos on the two sides; no video with a truth; or a protocol whose
            units are no videos (``batch=4``).
    """
    if [p.name for p in before.protocols] != [p.name for p in after.protocols] or before.class_ids != after.class_ids:
        raise CoPropError(f"only scorings under the same protocols and classes compare: {before.asked}, {after.asked}.")
    videos = before.video_ids()
    if missing := sorted(set(videos) ^ set(after.video_ids())):
        raise CoPropError(f"{len(missing)} videos were scored on one side only, the first is '{missing[0]}'.")
    differences = {}
    for name, family in before.families().items():
        if not family.one_row_a_video():
            raise CoPropError(f"'{name}' scores several videos together; compare under batch=1 or batch-free.")
        sides = [scorer.rows(name, videos) for scorer in (before, after)]
        if not sides[0]:
            raise CoPropError("no video has a truth, so there is nothing to compare.")
        sums = [stack(rows) for rows in sides]
        differences[name] = paired_bootstrap_of_sums(
            sums[0], sums[1], family.values, draws=draws, seed=seed, level=level
        )
    return differences


def score_rows(
    base: Prediction | None,
    refined: Prediction,
    truth: Prediction,
    *,
    protocols: str | Sequence[str] = ("avsbench", "alignment"),
    video_id: str = "clip",
    control_points: ControlPoints | None = None,
    detail: Literal["headline", "all"] = "headline",
) -> list[dict[str, Any]]:
    """Rows ``protocol, metric, base, refined, unit, masks`` of one video before and after (``None``: not defined).

    Like is compared with like: where one of them is hard, the labels of the other are scored. ``masks`` tells where
    that makes it another number (``M_F`` of hard masks is not ``M_F``).

    Args:
        base, refined, truth: of one video; a base model that was run at keyframes alone has no score (``None``).
        protocols: one name or several.
        video_id: for messages.
        control_points: the predicted ones, for protocols that look at them.
        detail: all numbers, or those that are no part of another (whose names have no ``/``).
    """
    if base is not None and "hard" in (base.kind, refined.kind):
        base, refined = base.hardened(), refined.hardened()
    before, after = (
        None
        if side is None
        else score(side, truth, protocol=protocols, video_id=video_id, control_points=control_points)
        for side in (base, refined)
    )
    return side_by_side(before, after, detail=detail)


def side_by_side(
    before: Scores | None, after: Scores | None, *, detail: Literal["headline", "all"] = "headline"
) -> list[dict[str, Any]]:
    """Rows ``protocol, metric, base, refined, unit, masks``; a number that one side lacks keeps its own row."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name, scores in (("base", before), ("refined", after)):
        numbers: list[Number] = [] if scores is None else scores.rows()
        for number in numbers:
            if detail == "headline" and number.part:
                continue
            row = {"protocol": number.protocol, "metric": number.metric, "base": None, "refined": None}
            found.setdefault(number.key, {**row, "unit": number.unit, "masks": number.masks})
            found[number.key][name] = number.value
    return list(found.values())
