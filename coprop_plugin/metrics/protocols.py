"""Scores under named protocols: a number never travels without the rule by which it was computed.

A protocol is named with its options, as ``avsbench:batch=4`` or ``alignment:tau=0.75``; ``describe()`` lists them.
Where one has a binary and a semantic form the classes choose: binary if prediction or truth knows one class only, and
then every object counts as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..structures import ControlPoints, Prediction
from .scorer import Scorer
from .table import describe, protocols

__all__ = ["Scorer", "describe", "protocols", "score", "value_rows"]


def score(
    prediction: Prediction,
    truth: Prediction,
    *,
    protocol: str | Sequence[str] = "avsbench",
    control_points: ControlPoints | None = None,
    truth_control_points: ControlPoints | None = None,
    video_id: str = "clip",
    frame_s: float | None = None,
) -> dict[str, Any]:
    """The scores of one video under a named protocol, or under several.

    Args:
        prediction: of any kind; its size may differ from the truth's.
        truth: a ``hard`` prediction of as many frames; -1 marks pixels (or whole frames) without a truth.
        protocol: a name, or several; see :func:`describe`.
        control_points: the predicted ones, where known (for ``control-points`` and ``split``).
        truth_control_points: the true ones, where they are known better than from the truth's masks.
        video_id: for messages.
        frame_s: seconds from one frame to the next, for errors in seconds.

    Returns:
        Name -> value (``None``: not defined), with ``protocol`` and ``about`` (what was scored, and how). Under
        several protocols, one such dict for each, by its name, and ``protocol`` as it was asked for.

    Raises:
        CoPropError: an unknown protocol, or prediction and truth that do not fit.
        PredictionError: NaN or infinite scores.
    """
    scorer = Scorer(protocol)
    scorer.add(video_id, prediction, truth, control_points, truth_control_points=truth_control_points, frame_s=frame_s)
    return scorer.compute()


def value_rows(scores: Mapping[str, Any]) -> list[tuple[str, str, float | None, str]]:
    """``(protocol, metric, value, unit)`` of what :func:`score` or :meth:`Scorer.compute` returned, ready for a table.

    Shares are in percent, with the unit ``%``; counts have the unit ``""``, errors ``frames`` or ``s``.
    """
    if "about" not in scores:
        return [row for part in scores.values() if isinstance(part, Mapping) for row in value_rows(part)]
    rows = []
    for metric, value in scores.items():
        if metric in ("protocol", "about"):
            continue
        unit = "frames" if metric.endswith("_frames") else "s" if metric.endswith("_s") else "%"
        if isinstance(value, int):
            unit = ""
        rows.append((scores["protocol"], metric, 100 * value if unit == "%" and value is not None else value, unit))
    return rows
