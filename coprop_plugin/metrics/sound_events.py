"""Segment-based scores of what sounds: in each stretch of time, which named sources are rightly said to sound.

The definitions are those of A. Mesaros, T. Heittola and T. Virtanen, "Metrics for polyphonic sound event detection" (Applied
Sciences 6(6), 2016), which sed_eval computes: counts are pooled over segments and classes ("micro"), a class counts in a segment
if it sounds anywhere in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import CoPropError
from .sums import Sums, ratio

Names = frozenset[str]


def segment_sums(predicted: Sequence[Names], true: Sequence[Names], *, frames_a_segment: int = 1) -> Sums:
    """The sums of one clip from the names that sound in each of its frames.

    Args:
        predicted, true: ``(T,)`` sets.
        frames_a_segment: frames that are judged together; the last segment takes what is left.

    Raises:
        CoPropError: lists that differ in length, or a segment without frames.
    """
    if len(predicted) != len(true):
        raise CoPropError(f"what sounds in {len(predicted)} frames against a truth of {len(true)} frames.")
    if frames_a_segment < 1:
        raise CoPropError(f"a segment has at least one frame, got {frames_a_segment}.")
    sums = dict.fromkeys(("hits", "false", "missed", "substituted", "deleted", "inserted"), 0)
    for start in range(0, len(true), frames_a_segment):
        said, wanted = (frozenset().union(*x[start : start + frames_a_segment]) for x in (predicted, true))
        false, missed = len(said - wanted), len(wanted - said)
        sums["hits"] += len(said & wanted)
        sums["false"] += false
        sums["missed"] += missed
        sums["substituted"] += min(false, missed)
        sums["deleted"] += max(0, missed - false)
        sums["inserted"] += max(0, false - missed)
    return sums


def segment_scores(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and error rate from sums with a leading axis; NaN where they are not defined.

    The error rate is substitutions, deletions and insertions over what sounds; it may exceed 1.
    """
    hits, false, missed = (np.asarray(totals[name], float) for name in ("hits", "false", "missed"))
    errors = np.sum([totals[name] for name in ("substituted", "deleted", "inserted")], axis=0)
    return {
        "segment_precision": ratio(hits, hits + false),
        "segment_recall": ratio(hits, hits + missed),
        "segment_F1": ratio(2 * hits, 2 * hits + false + missed),
        "segment_error_rate": ratio(errors, hits + missed),
    }
