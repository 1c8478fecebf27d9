"""Scores under named protocols: a number never travels without the rule by which it was computed.

A protocol is named with its options, as ``avsbench:batch=4`` or ``alignment:tau=0.75``; ``describe()`` lists them.
Where one has a binary and a semantic form the classes choose: binary if prediction or truth knows one class only, and
then every object counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..structures import ControlPoints, Prediction
from .scorer import Scorer
from .scores import Scores
from .table import describe, protocols

__all__ = ["Scorer", "Scores", "describe", "protocols", "score"]


def score(
    prediction: Prediction,
    truth: Prediction,
    *,
    protocol: str | Sequence[str] = "avsbench",
    control_points: ControlPoints | None = None,
    truth_control_points: ControlPoints | None = None,
    video_id: str = "clip",
    frame_s: float | None = None,
) -> Scores:
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
        Metric -> fraction (or a count; ``None``: not defined), with its ``protocol`` and ``about`` (what was scored, and
        how). Under several protocols, such ``Scores`` for each, by its name.

    Raises:
        CoPropError: an unknown protocol, or prediction and truth that do not fit.
        PredictionError: NaN or infinite scores.
    """
    scorer = Scorer(protocol)
    scorer.add(video_id, prediction, truth, control_points, truth_control_points=truth_control_points, frame_s=frame_s)
    return scorer.compute()
