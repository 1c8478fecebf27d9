"""Control-point scores are the field's boundary scores: mir_eval's hit rates, and sed_eval's onsets within a collar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.metrics.control_points import list_sums, point_scores

mir_eval = pytest.importorskip("mir_eval")
FLAGS = st.lists(st.booleans(), min_size=2, max_size=25)


def scored(predicted: np.ndarray, true: np.ndarray, tolerance: int) -> tuple[float, float, float]:
    totals = {name: np.asarray(value)[None] for name, value in list_sums(predicted, true).items()}
    scores = point_scores(totals)
    return tuple(float(scores[f"{name}@{tolerance}"][0]) for name in ("precision", "recall", "F1"))  # type: ignore[return-value]


def segments_of(flags: np.ndarray) -> np.ndarray:
    edges = np.append(np.flatnonzero(flags), len(flags)).astype(float)
    return np.stack([edges[:-1], edges[1:]], axis=1)


@settings(max_examples=300, deadline=None)
@given(FLAGS, FLAGS, st.sampled_from([0, 1, 2]))
def test_boundary_hit_rates_of_mir_eval(first: list[bool], second: list[bool], tolerance: int) -> None:
    """Its boundaries without the outermost two are our changes; its window is our tolerance."""
    length = min(len(first), len(second))
    predicted, true = np.array(first[:length]), np.array(second[:length])
    predicted[0] = true[0] = True
    if predicted.sum() == 1 or true.sum() == 1:
        return  # mir_eval calls every such case 0; ours tells apart where there was nothing to find
    found = mir_eval.segment.detection(segments_of(true), segments_of(predicted), window=tolerance + 1e-6, trim=True)
    assert np.allclose(scored(predicted, true, tolerance), found)


@settings(max_examples=200, deadline=None)
@given(FLAGS, FLAGS, st.sampled_from([0, 1, 2]))
def test_onsets_within_a_collar(first: list[bool], second: list[bool], tolerance: int) -> None:
    """sed_eval's event-based scores of one class by onsets alone: optimal pairs within the collar are hits, the rest errors.

    Its definition, written out (Mesaros, Heittola and Virtanen, 2016): F = 2 TP / (2 TP + FP + FN), no true negatives.
    """
    length = min(len(first), len(second))
    predicted, true = np.array(first[:length]), np.array(second[:length])
    predicted[0] = true[0] = True
    system, reference = np.flatnonzero(predicted)[1:], np.flatnonzero(true)[1:]
    graph = {int(r): [int(s) for s in system if abs(int(s) - int(r)) <= tolerance] for r in reference}
    hits = len(mir_eval.util._bipartite_match(graph))
    false, missed = len(system) - hits, len(reference) - hits
    if len(system) and len(reference):
        assert scored(predicted, true, tolerance)[2] == pytest.approx(2 * hits / (2 * hits + false + missed))
