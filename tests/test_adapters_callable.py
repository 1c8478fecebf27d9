"""Functions as adapters: what they may answer, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coprop_plugin.adapters.base import Adapter, build_adapter
from coprop_plugin.adapters.callable import CallableAdapter
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.structures import Clip, Prediction, Sound, TimeBase

T, H, W = 4, 6, 5


@pytest.fixture
def clip() -> Clip:
    return Clip("toy", np.zeros((T, H, W, 3), np.uint8), Sound.silence(T), TimeBase.of("avsbench", T))


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(0).random((T, H, W), np.float32)


def ask(answer: object, clip: Clip, **options: object) -> Prediction:
    return CallableAdapter(lambda clip: answer, **options).predict(clip)


@pytest.mark.parametrize("form", ["numpy", "torch", "torch half", "list", "(T, 1, H, W)", "(T, 2, H, W)"])
def test_all_forms_of_the_same_probabilities_are_one_prediction(form: str, clip: Clip, scores: np.ndarray) -> None:
    scores = np.round(scores * 64) / 64  # exact in float16
    answer = {
        "numpy": scores,
        "torch": torch.from_numpy(scores).requires_grad_(),
        "torch half": torch.from_numpy(scores).half(),
        "list": list(scores),
        "(T, 1, H, W)": scores[:, None],
        "(T, 2, H, W)": np.stack([1 - scores, scores], axis=1),
    }[form]
    prediction = ask(answer, clip, kind="probability")
    assert (prediction.kind, prediction.class_ids, prediction.scores.shape) == ("probability", (1,), (T, 2, H, W))
    np.testing.assert_array_equal(np.stack([prediction.frame(t) for t in range(T)]), np.stack([1 - scores, scores], 1))


def test_foreground_logits_are_against_zero(clip: Clip, scores: np.ndarray) -> None:
    prediction = ask(scores - 0.5, clip, kind="logit")
    np.testing.assert_array_equal(prediction.frame(1), np.stack([np.zeros((H, W)), scores[1] - np.float32(0.5)]))
    np.testing.assert_array_equal(prediction.label_map(1), scores[1] > 0.5)


@pytest.mark.parametrize("cast", [np.uint8, np.int64, bool, torch.tensor])
def test_integers_are_label_maps(cast, clip: Clip, scores: np.ndarray) -> None:
    masks = scores > 0.5
    prediction = ask(masks.astype(cast) if isinstance(cast, type) and cast is not torch.tensor else cast(masks), clip)
    assert prediction.kind == "hard"
    np.testing.assert_array_equal(prediction.label_maps()[:], masks)


def test_many_classes(clip: Clip) -> None:
    logits = np.random.default_rng(1).normal(size=(T, 71, H, W)).astype(np.float32)
    prediction = ask(logits, clip, kind="logit", class_ids="avsbench")
    np.testing.assert_array_equal(prediction.label_map(2), logits[2].argmax(0))
    assert prediction.names[11] == "car"
    one_class = ask(logits[:, :1], clip, kind="logit", class_ids=(11,))
    assert set(np.unique(one_class.label_map(0))) <= {0, 11}


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        (np.zeros((T, H, W)), {}, "nothing says whether they are probabilities or logits"),
        (np.zeros((T, H, W)), {"kind": "hard"}, r"label maps \(kind='hard'\) are integers"),
        (
            np.zeros((T, H, W)),
            {"kind": "logit", "ids": {1: 11}},
            r"ids= maps the values of label maps.*classes=\(11,\)",
        ),
        (
            np.zeros((T, H, W), np.uint8),
            {"kind": "probability"},
            "integers cannot be of kind 'probability'.*divide 8-bit",
        ),
        (np.zeros((3, H, W), bool), {}, "3 frames, but clip 'toy' has 4.*sampling avsbench, 4 s.*'uniform:0.75'"),
        (np.zeros((H, W)), {"kind": "logit"}, r"an array of the shape \(6, 5\)"),
        (np.zeros((T, 0, W), bool), {}, "none of them empty"),
        (np.zeros((T, 3, H, W)), {"kind": "logit"}, r"3 channels.*classes=range\(1, 3\)"),
        (np.zeros((T, 2, H, W)), {"kind": "logit", "class_ids": (3, 4)}, "channel of the background is missing"),
        (np.zeros((T, 5, H, W)), {"kind": "logit", "class_ids": (3, 4)}, r"\(T, 3, H, W\); got \(4, 5, 6, 5\)"),
        (np.zeros((T, 2, H, W), int), {}, r"label maps are \(T, H, W\)"),
        (np.zeros((T, H, W), object), {}, "an array of object"),
        (np.zeros((T, H, W), complex), {"kind": "logit"}, "an array of complex128"),
        ([np.zeros((H, W)), np.zeros((H, 9))], {"kind": "logit"}, "all of one shape and type"),
        ("masks", {}, "got a str"),
        (None, {}, "got a NoneType"),
    ],
)
def test_other_answers_are_refused(answer: object, options: dict, message: str, clip: Clip) -> None:
    with pytest.raises(PredictionError, match=message):
        ask(answer, clip, **options)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (np.nan, "probability", "frame 0 holds NaN or infinite"),
        (np.inf, "logit", "frame 0 holds NaN or infinite"),
        (1.5, "probability", "holds values from -0.5 to 1.5; probabilities lie in"),
    ],
)
def test_values_out_of_place_are_found_when_a_frame_is_read(value: float, kind: str, message: str, clip: Clip) -> None:
    answer = np.full((T, H, W), 0.5, np.float32)
    answer[0, 0, 0] = value
    with pytest.raises(PredictionError, match=message):
        ask(answer, clip, kind=kind).frame(0)


def test_probabilities_that_do_not_sum_to_1_are_refused(clip: Clip) -> None:
    sigmoids = np.full((T, 3, H, W), 0.5, np.float32)
    with pytest.raises(PredictionError, match=r"frame 2: the probabilities of a pixel sum to 1\.5 at least"):
        ask(sigmoids, clip, kind="probability", class_ids=(1, 2)).frame(2)


def test_unexpected_labels_name_the_frame(clip: Clip) -> None:
    labels = np.zeros((T, H, W), np.uint8)
    labels[2, 0, :3] = 7
    with pytest.raises(PredictionError, match=r"clip 'toy', frame 2: holds values that stand for no class: 7 \(3 px\)"):
        ask(labels, clip).label_map(2)


def test_frame_mode_is_the_functions_own(clip: Clip, scores: np.ndarray) -> None:
    def model(clip: Clip, frames: list[int] | None = None) -> np.ndarray:
        return scores if frames is None else scores[frames]

    adapter = CallableAdapter(model, kind="probability", frame_equals_clip=True)
    whole = adapter.predict(clip)
    alone = adapter.predict_frames(clip, [3, 1])
    assert list(alone) == [3, 1]
    for t, frame in alone.items():
        np.testing.assert_array_equal(frame, whole.frame(t))
    assert adapter.predict_frames(clip, []) == {}
    with pytest.raises(CoPropError, match=r"has the frames \[0, 4\); asked for \[4\]"):
        adapter.predict_frames(clip, [0, 4])


def test_an_unknown_kind_names_the_nearest(clip: Clip, scores: np.ndarray) -> None:
    with pytest.raises(CoPropError, match=r"unknown kind of scores 'probabilty'. Did you mean 'probability'"):
        ask(scores, clip, kind="probabilty")


def test_without_frames_there_is_no_frame_mode(clip: Clip) -> None:
    adapter = CallableAdapter(lambda clip: None, name="mine")
    assert adapter.frame_equals_clip is None
    with pytest.raises(CoPropError, match="the adapter 'mine' cannot be run at single frames"):
        adapter.predict_frames(clip, [0])


def test_label_maps_of_single_frames_are_probabilities(clip: Clip) -> None:
    adapter = CallableAdapter(lambda clip, frames=None: np.ones((len(frames), H, W), bool))
    assert adapter.kind == "probability"
    np.testing.assert_array_equal(adapter.predict_frames(clip, [1])[1], np.stack([np.zeros((H, W)), np.ones((H, W))]))


def test_a_frame_mode_that_answers_for_others_is_refused(clip: Clip, scores: np.ndarray) -> None:
    adapter = CallableAdapter(lambda clip, frames=None: scores, kind="probability")
    with pytest.raises(PredictionError, match="asked for 1 frames, got 4"):
        adapter.predict_frames(clip, [2])


def test_built_by_name(clip: Clip) -> None:
    built = build_adapter("callable", function=lambda clip: np.ones((T, H, W), bool), class_ids=(1,))
    assert isinstance(built, Adapter)
    assert built.predict(clip).label_map(3).all()
    assert build_adapter("callable", function="numpy:zeros_like").class_ids == (1,)
    with pytest.raises(CoPropError, match="no function 'no_such_module:f'"):
        build_adapter("callable", function="no_such_module:f")
    with pytest.raises(CoPropError, match="named 'module:function', got 'numpy'"):
        build_adapter("callable", function="numpy")
    with pytest.raises(CoPropError, match="function is a function or text, got 3"):
        build_adapter("callable", function=3)
