"""The adapter ssp: which parts are on, what it says of them, and where its answers come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rule_weights import rule_state
from safetensors.torch import save_file
from ssp_cases import STAGE_1, STAGE_2, clip_of, encoders, weights

import coprop_plugin as cp
from coprop_plugin.adapters.aavs.adapter import AavsAdapter
from coprop_plugin.adapters.aavs.network import Aavs
from coprop_plugin.adapters.ssp.adapter import SspAdapter
from coprop_plugin.adapters.ssp.asking import question_2
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.language.answers import MOST_CHARS, Answers, NoText, SavedAnswers, checked
from coprop_plugin.structures import Prediction

SIDE_PX = 96


@pytest.fixture(autouse=True, scope="module")
def small_frames():
    """The published 384 px take a second a frame."""
    published = SspAdapter.size
    AavsAdapter.size = SIDE_PX, SIDE_PX
    yield
    AavsAdapter.size = published


SAID = {"video": ["a man is playing the guitar", "guitar, man."]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ssp")
    torch.save(rule_state(VGGish), folder / "vggish.pth")
    torch.save(rule_state(lambda: Aavs(STAGE_1)), folder / "aavs.pth")
    torch.save(weights(STAGE_1), folder / "stage1.pth")
    save_file(weights(STAGE_2), folder / "stage2.safetensors")
    (folder / "answers.json").write_text(json.dumps(SAID))
    encoders(folder)
    return folder


@pytest.fixture(scope="module")
def given(files: Path) -> dict[str, Any]:
    vggish = VGGish.load(files / "vggish.pth")
    return {"audio_checkpoint": vggish, "text_encoder": files / "bert", "vision_encoder": files / "clip"}


def first(files: Path, given: dict[str, Any], **options: Any) -> SspAdapter:
    return cp.build_adapter("ssp", **{"checkpoint": files / "stage1.pth", **given, **options})  # type: ignore[return-value]


def test_with_aavs_weights_it_is_aavs(files: Path, given: dict[str, Any]) -> None:
    clip = clip_of(2)
    ours = first(files, given, checkpoint=files / "aavs.pth", answers=SAID).predict(clip)
    aavs = cp.build_adapter("aavs", checkpoint=files / "aavs.pth", audio_checkpoint=given["audio_checkpoint"])
    for t in range(2):
        np.testing.assert_array_equal(ours.frame(t), aavs.predict(clip).frame(t))
    assert ours.notes == (
        "SSP's pre-mask is off (the weights were trained without one)",
        "SSP's texts are off: the weights were trained without texts",
    )


def test_all_parts_act_and_are_told(files: Path, given: dict[str, Any]) -> None:
    clip = clip_of(2)
    predictions = {
        name: first(files, given, **options).predict(clip)
        for name, options in {
            "all": {"answers": files / "answers.json"},
            "no text": {},
            "other text": {"answers": {"video": ["a dog barks", "dog"]}},
            "no text for it": {"answers": {"another": SAID["video"]}},
            "floor": {"pre_mask": "floor"},
            "off": {"pre_mask": "off"},
        }.items()
    }
    frames = {name: prediction.frame(1) for name, prediction in predictions.items()}
    np.testing.assert_array_equal(frames["no text for it"], frames["no text"])
    for one, other in (("all", "no text"), ("all", "other text"), ("no text", "floor"), ("floor", "off")):
        assert not np.allclose(frames[one], frames[other], atol=1e-4), (one, other)
    notes = {name: " ".join(prediction.notes) for name, prediction in predictions.items()}
    assert "pre-mask: flow, optical flow by DIS" in notes["all"] and "binary by 'max'" in notes["all"]
    assert "texts: vta, answers of 'answers.json' (1 videos)" in notes["all"]
    assert "texts are off: answers= was not given" in notes["no text"]
    assert "no text for clip 'video': answers of given answers (1 videos) hold none for it" in notes["no text for it"]
    assert "pre-mask: floor" in notes["floor"] and "pre-mask is off" in notes["off"]
    scores = cp.score(predictions["all"], Prediction.from_labels(np.ones((2, 48, 64), int)), protocol="avsbench")
    assert any("SSP's texts" in note for note in scores.about["notes"])


def test_frames_alone_are_those_of_the_clip_and_batches_change_nothing(files: Path, given: dict[str, Any]) -> None:
    clip, other = clip_of(3), clip_of(2, name="other")
    model = first(files, given, answers=SAID)
    whole = model.predict(clip)
    np.testing.assert_allclose(model.predict_frames(clip, [2])[2], whole.frame(2), rtol=1e-4, atol=1e-4)
    batched = first(files, given, answers=SAID, batch_frames=4).predict_clips([clip, other])
    np.testing.assert_allclose(batched[0].frame(2), whole.frame(2), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batched[1].frame(1), model.predict(other).frame(1), rtol=1e-4, atol=1e-4)


def test_stage_2_gives_its_parts_to_stage_1(files: Path, given: dict[str, Any]) -> None:
    clip = clip_of(2)
    options = {"checkpoint": files / "stage2.safetensors", "answers": SAID, **given}
    masks = first(files, given, answers=SAID).predict(clip)
    both = cp.build_adapter("ssp", first_stage=files / "stage1.pth", **options).predict(clip)
    save_file(weights(STAGE_1), files / "first.safetensors")
    for same in (masks, files / "first.safetensors"):
        saved = cp.build_adapter("ssp", first_stage=same, **options).predict(clip)
        np.testing.assert_array_equal(both.frame(1), saved.frame(1))
    assert both.kind == "probability" and both.class_ids[-1] == 70
    silent, loud = (Prediction.from_labels(np.full((2, 48, 64), value)) for value in (0, 1))
    frames = [cp.build_adapter("ssp", first_stage=each, **options).predict(clip).frame(1) for each in (silent, loud)]
    assert not np.allclose(*frames)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pre_mask": "black"}, CoPropError, "pre_mask is one of|unknown pre_mask 'black'"),
        ({"binary": "median"}, CoPropError, "binary is one of|rule of a flow mask 'median'"),
        ({"flow": "raft"}, CoPropError, "flow: nothing usable"),
        ({"answers": "nowhere"}, CoPropError, "answers: nothing usable"),
        ({"vision_encoder": None}, CoPropError, "texts need both encoders"),
        ({"checkpoint": None}, CheckpointError, "'ssp' needs checkpoint="),
        ({"first_stage": "x"}, CoPropError, "first_stage= is for stage 2 of ssp"),
    ],
)
def test_what_is_wrong_is_said(files: Path, given: dict[str, Any], options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        first(files, given, **options)


def test_encoders_of_other_sizes_are_refused(files: Path, given: dict[str, Any], tmp_path: Path) -> None:
    state = weights(STAGE_1)
    state["align.v_mlp.0.weight"] = torch.zeros(16, 32)
    with pytest.raises(CheckpointError, match="vision of 32 channels"):
        first(files, given, checkpoint=state, answers=SAID)


# answers are text from a model


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (None, "no pair"),
        ([], "no pair"),
        (["a"], "no pair"),
        ("ab", "no pair"),
        ({"A1": "x"}, "no pair"),
        ([1, "man"], "A1 is no text but int"),
        (["a man", ["man"]], "A2 is no text but list"),
        (["", "man"], "A1 is empty"),
        (["a man", " \n\t"], "A2 is empty"),
        (["\x00\x1b\u202e\ufeff", "man"], "A1 is empty"),
        (["...", "man"], "A1 is empty"),
    ],
)
def test_faulty_answers_are_no_text(pair: Any, why: str) -> None:
    found = checked(pair)
    assert isinstance(found, NoText) and why in found.why


def test_hostile_and_huge_answers_are_plain_short_lines() -> None:
    found = checked(["\x1b[2J<script>\u202ea man\x00\n\n plays", "man, " * 1_000_000])
    assert isinstance(found, Answers)
    assert found.first == "[2J<script> a man plays" and len(found.second) <= MOST_CHARS
    assert found.nouns == ("man", "ma") or found.nouns == ("man",)
    assert Answers("", "Piano, microphone, and man.").nouns == ("piano", "microphone", "man")
    assert question_2("A man {plays}.") == (
        'According to the video, with "A man {plays}.", give the NOUN word that potentially produce sound.'
    )


def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    for text in ("[]", "{", '{"a": NaN}', "1"):
        (tmp_path / "answers.json").write_text(text)
        with pytest.raises(CoPropError, match="answers"):
            SavedAnswers(tmp_path / "answers.json")
