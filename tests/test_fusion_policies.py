"""Policies on masks: the paper's to the letter, the default doing no harm and mending a late model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import scenes

import coprop_plugin as cp
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.fusion.base import add, erase
from coprop_plugin.fusion.consensus import heard_of
from coprop_plugin.fusion.decide import SURE_SILENCE
from coprop_plugin.fusion.tracks import Tracks
from coprop_plugin.propagators.base import PropagationTask, Propagator
from coprop_plugin.propagators.flow import Flow
from coprop_plugin.structures import Origin
from coprop_plugin.study.plug_in import evaluate


def method(states: np.ndarray, **options) -> cp.CoProp:
    return cp.CoProp(control_points=scenes.points(states), **{"propagator": "flow", **options})


def truth(states: np.ndarray, *, binary: bool = False) -> cp.Prediction:
    return cp.Prediction.from_labels(scenes.labels(states, binary=binary), class_ids=(1,) if binary else (1, 2))


@pytest.mark.parametrize("binary", [False, True], ids=["classes", "one foreground"])
def test_a_right_prediction_is_left_as_it_is(binary: bool) -> None:
    base = scenes.prediction(scenes.STATES, binary=binary)
    result = method(scenes.STATES)(scenes.clip(), base)
    assert result.changed == ()
    assert all((result.prediction.frame(t) == base.frame(t)).all() for t in range(10))


@pytest.mark.parametrize("binary", [False, True], ids=["classes", "one foreground"])
def test_a_late_model_is_mended_where_the_paper_keeps_the_stale_frame(binary: bool) -> None:
    clip, base = scenes.clip(), scenes.prediction(scenes.late(scenes.STATES, 1), binary=binary)
    wanted, points = truth(scenes.STATES, binary=binary), scenes.points(scenes.STATES)
    before = evaluate(base, wanted, points)
    mended = evaluate(method(scenes.STATES)(clip, base).prediction, wanted, points)
    paper = evaluate(method(scenes.STATES, fusion="replace")(clip, base).prediction, wanted, points)
    assert mended["alignment"] == 1 > before["alignment"] > paper["alignment"]
    assert mended["M_J"] > before["M_J"] > paper["M_J"]


class NoFlow(Propagator):
    """A propagator that must not be asked."""

    def propagate(self, clip: cp.Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        assert not list(tasks), "colours had settled it"
        return iter(())


def test_an_object_that_keeps_its_colours_needs_no_flow() -> None:
    alone = np.zeros((6, 2), bool)
    alone[[0, 1, 2, 4], 0] = True  # it is shown again after a pause
    base, clip = scenes.prediction(alone, binary=True), scenes.clip(6)
    tracks = [Tracks(clip, base, propagator) for propagator in (NoFlow(), Flow())]
    for found in tracks:
        assert (found.present[:, 0] == alone[:, 0]).all() and found.present.shape == (6, 1)
    assert all((tracks[0].mask(t, 0) == tracks[1].mask(t, 0)).all() for t in range(6))


def test_the_late_model_is_named_in_a_note() -> None:
    base = scenes.prediction(scenes.late(scenes.STATES, 1))
    assert "start 1 frame late and stop 1 frame late" in " ".join(method(scenes.STATES)(scenes.clip(), base).notes)


def test_a_silent_segment_becomes_empty() -> None:
    base = scenes.prediction(np.ones((6, 2), bool))
    points = cp.ControlPoints(np.array([1, 0, 0, 1, 0, 0]), silent=(False, True))
    result = cp.CoProp(control_points=points, propagator="hold")(scenes.clip(6), base)
    assert result.changed == (3, 4, 5)
    assert not any(result.prediction.label_map(t).any() for t in (3, 4, 5))


def test_a_frame_that_shows_something_is_emptied_in_silence_alone() -> None:
    shown = np.zeros((6, 2), bool)
    shown[[1, 4], 0] = True  # a steady sound, two good masks: the others were missed, or these two are false
    for silent, kept in ((False, True), (None, True), (True, False)):
        points = cp.ControlPoints(np.eye(1, 6, dtype=bool)[0], silent=(silent,))
        refined = cp.CoProp(control_points=points)(scenes.clip(6), scenes.prediction(shown)).prediction
        assert all(refined.label_map(t).any() == kept for t in (1, 4))


def test_the_paper_keeps_keyframes_and_replaces_the_rest() -> None:
    base = scenes.prediction(scenes.late(scenes.STATES, 1))
    result = cp.CoProp.paper(control_points=scenes.points(scenes.STATES), propagator="hold")(scenes.clip(), base)
    keyframes = [segment.keyframe for segment in result.segments]
    assert [segment.anchor for segment in result.segments] == keyframes
    assert set(result.changed) == set(range(10)) - set(keyframes)
    for segment in result.segments:
        for t in range(segment.start, segment.stop):
            assert (result.prediction.label_map(t) == base.label_map(segment.keyframe)).all()


def test_an_empty_keyframe_empties_its_segment_unless_the_base_is_asked_for() -> None:
    states = np.array([[0, 0], [1, 0], [1, 0]], bool)
    points = cp.ControlPoints(np.array([1, 0, 0]))
    for empty, shown in (("propagate", False), ("base", True)):
        refine = cp.CoProp(control_points=points, propagator="hold", fusion={"name": "replace", "empty": empty})
        assert refine(scenes.clip(3), scenes.prediction(states)).prediction.label_map(2).any() == shown


def test_a_model_run_at_keyframes_alone_gives_the_papers_result() -> None:
    base = scenes.prediction(scenes.late(scenes.STATES, 1))
    asked: list[int] = []

    class Model(cp.adapters.base.Adapter):  # type: ignore[name-defined]
        name, class_ids, kind = "model", (1, 2), "probability"

        def predict(self, clip):
            return base

        def predict_frames(self, clip, frames):
            asked.extend(frames)
            return {t: base.frame(t) for t in frames}

    refine = cp.CoProp.paper(control_points=scenes.points(scenes.STATES), propagator="hold")
    by_frame, by_clip = refine(scenes.clip(), Model(), mode="frame"), refine(scenes.clip(), Model())
    assert asked == [segment.keyframe for segment in by_clip.segments]
    assert all((by_frame.prediction.frame(t) == by_clip.prediction.frame(t)).all() for t in range(10))
    with pytest.raises(CoPropError, match="looks at the base model's answers of all frames"):
        method(scenes.STATES)(scenes.clip(), Model(), mode="frame")


def test_a_long_steady_segment_is_propagated_in_pieces() -> None:
    states = np.array([[1, 0]] * 10, bool)
    refine = cp.CoProp.paper(control_points="none", propagator="hold", max_segment_frames=4)
    assert [(s.start, s.stop) for s in refine(scenes.clip(), scenes.prediction(states)).segments] == [
        (0, 4),
        (4, 8),
        (8, 10),
    ]


def test_logits_and_hard_masks_are_refined_too() -> None:
    shown = scenes.late(scenes.STATES, 1)
    soft = scenes.prediction(shown)
    logit = cp.Prediction(np.log(np.asarray(soft.scores)), "logit", soft.class_ids)
    hard = truth(shown)
    results = [method(scenes.STATES)(scenes.clip(), base).prediction for base in (soft, logit, hard)]
    for t in range(10):
        assert np.abs(results[0].frame(t) - results[1].frame(t)).max() < 1e-5
        assert (results[0].label_map(t) != results[2].label_map(t)).mean() < 0.01


def test_frame_counts_must_agree() -> None:
    with pytest.raises(PredictionError, match=r"the prediction: 3 frames, but clip .* has 10.*uniform:0\.3"):
        method(scenes.STATES)(scenes.clip(), scenes.prediction(scenes.STATES[:3]))


def test_editing_keeps_probabilities_and_the_shape_of_what_is_there() -> None:
    scores = np.array([[[0.1, 0.8]], [[0.9, 0.1]], [[0.0, 0.1]]], np.float32)
    gone = erase(scores, 1, scores[1])
    assert np.allclose(gone.sum(axis=0), 1) and not gone[1].any()
    more = add(scores, [(2, np.array([[0.9, 0.9]], np.float32))])
    assert np.allclose(more.sum(axis=0), 1) and more.argmax(axis=0).tolist() == [[1, 2]]
    assert add(scores, []) is scores


def test_scores_kept_in_half_precision_stay_probabilities() -> None:
    """Their channels add up to a little more than 1, and an erased object is given to the background whole."""
    scores = np.array([[[0.1004]], [[0.9]]], np.float32)
    assert erase(scores, 1, scores[1]).ravel().tolist() == [1, 0]


def test_a_class_that_flips_is_renamed_and_keeps_its_shape() -> None:
    """The base model drew the thing in that very frame: the mask under the wrong name is better than a carried one."""
    states = np.zeros((10, 2), bool)
    states[:, 0] = True
    labels = scenes.labels(states)
    shown = labels[4] == 1
    shown[:20] = False  # an outline that no propagator would bring
    labels[4] = np.where(shown, 2, 0)
    base = cp.Prediction.from_labels(labels, class_ids=(1, 2))
    points = cp.ControlPoints(np.arange(10) == 0, silent=(False,))
    mended = cp.CoProp(control_points=points, propagator="flow")(scenes.clip(), base).prediction
    assert (mended.label_map(4) == np.where(shown, 1, 0)).all()


def test_a_generator_that_is_surer_than_right_is_held_back() -> None:
    flags, confidence = np.array([1, 0, 1, 0], bool), np.array([1, 0.95, 0.97, 0.6])
    silence = np.array([0, 0.99, 0, 0.1])
    told = {
        name: heard_of(cp.ControlPoints(flags, confidence=confidence, silence=silence, origin=Origin(name)))
        for name in ("boundary", "changepoint")
    }
    sure, held = told["boundary"], told["changepoint"]
    assert sure.change[0] == held.change[0]
    assert (np.argsort(held.change[1:]) == np.argsort(sure.change[1:])).all()  # what is likelier stays likelier
    assert sure.change[2] - sure.change[1] > held.change[2] - held.change[1] > 0
    assert sure.silence[1] > SURE_SILENCE > held.silence[1]  # it empties no frame


def test_a_generator_that_stands_in_is_held_back_as_by_its_own_name() -> None:
    confidence, silence = np.linspace(0.98, 0.02, 10), np.linspace(0, 1, 10)
    own, standing_in = (
        heard_of(cp.ControlPoints(confidence > 0.5, confidence=confidence, silence=silence, origin=origin))
        for origin in (Origin("changepoint"), Origin("rcpg", ("no list",), "changepoint"))
    )
    np.testing.assert_array_equal(own.change, standing_in.change)
    np.testing.assert_array_equal(own.silence, standing_in.silence)


def test_a_frame_with_exchanged_classes_is_left_as_it_is() -> None:
    """One thing bears the other's name, that one a third: nothing of what is shown may get lost."""
    states = np.ones((10, 2), bool)
    labels = scenes.labels(states)
    labels[4] = np.array([0, 2, 3], np.int16)[labels[4]]
    base = cp.Prediction.from_labels(labels, class_ids=(1, 2, 3))
    points = cp.ControlPoints(np.arange(10) == 0, silent=(False,))
    result = cp.CoProp(control_points=points, propagator="flow")(scenes.clip(), base)
    assert (result.prediction.label_map(4) == labels[4]).all()
    assert any("frame 4" in line and "exchanged" in line for line in result.why)
