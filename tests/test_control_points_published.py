"""Control-point scores are the field's: mir_eval's hit rates, and sed_eval's onsets within a collar and segment-based scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.metrics.control_points import list_sums, point_scores
from coprop_plugin.metrics.sound_events import segment_scores, segment_sums

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


ROLLS = st.lists(
    st.tuples(st.frozensets(st.sampled_from("abcd")), st.frozensets(st.sampled_from("abcd"))), min_size=1, max_size=20
)


@settings(max_examples=200, deadline=None)
@given(ROLLS, st.sampled_from([1, 2, 3]))
def test_segment_based_scores(clip: list[tuple[frozenset[str], frozenset[str]]], length: int) -> None:
    """sed_eval's segment-based scores, written out on its event rolls (0/1, a column a class), micro average.

    The package was left out: it needs dcase_util, librosa and numba.
    """
    rolls = np.zeros((2, -(-len(clip) // length), 4), int)
    for t, sides in enumerate(clip):
        for side, names in enumerate(sides):
            for name in names:
                rolls[side, t // length, "abcd".index(name)] = 1
    system, reference = rolls
    hits, false, missed = ((system + reference) > 1).sum(), (system > reference).sum(), (reference > system).sum()
    per_segment = np.stack([(system > reference).sum(axis=1), (reference > system).sum(axis=1)])
    sums = segment_sums([said for said, _ in clip], [true for _, true in clip], frames_a_segment=length)
    scores = segment_scores({name: np.array([value]) for name, value in sums.items()})
    if hits + false + missed:
        assert scores["segment_F1"][0] == pytest.approx(2 * hits / (2 * hits + false + missed))
    if reference.any():
        # substitutions are the lesser of the two kinds of error in a segment; the rest is deletions or insertions
        assert scores["segment_error_rate"][0] == pytest.approx(per_segment.max(axis=0).sum() / reference.sum())
