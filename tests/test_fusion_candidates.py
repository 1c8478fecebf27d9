"""What is said of a video narrows what an ear is asked about; how much a thing moves is a bounded word beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from test_fusion_evidence import Ear, Pictures, named, shown

import coprop_plugin as cp
from coprop_plugin.errors import CoPropError
from coprop_plugin.fusion.candidates import MOST_NOUNS, Candidates, candidates_of, open_candidates, singulars
from coprop_plugin.fusion.evidence import Witness, seen_kind
from coprop_plugin.fusion.evidence_motion import MOST_NATS, Movement, compared
from coprop_plugin.fusion.objects import objects_of
from coprop_plugin.language.answers import SavedAnswers
from coprop_plugin.propagators.flow import Flow
from coprop_plugin.propagators.motion import MotionMasks, MotionRule

DOG, TRUCK, BUBBLE = 207, 867, 971  # of ImageNet's classes
ANYTHING = np.broadcast_to(scenes.STATES.any(axis=1, keepdims=True), scenes.STATES.shape)


def answers(second: Any) -> dict[str, Any]:
    return {"two-objects": ["A scene.", second]}


def refined(states: np.ndarray, **fusion: Any) -> cp.Result:
    method = cp.CoProp(control_points=scenes.points(scenes.STATES), fusion={"name": "consensus", **fusion})
    return method(scenes.clip(), named(states))


def both() -> Ear:
    return Ear(["Dog", "Cat"], scenes.STATES)


def test_an_ear_is_asked_about_candidates_alone() -> None:
    """Naming both changes nothing; of one left out the ear says nothing, whatever it hears."""
    asked = refined(ANYTHING, evidence=both())
    all_named = refined(ANYTHING, evidence=both(), candidates=answers("dogs, a cat"))
    assert (shown(asked) == shown(all_named)).all() and list(all_named.heard) == ["dog", "cat"]
    dog = refined(ANYTHING, evidence=both(), candidates=answers("a barking dog"))
    assert list(dog.heard) == ["dog"] and "heard: dog" in dog.report() and "heard: cat" not in dog.report()
    assert any(line.startswith("cat: the ear was not asked") and "barking dog" in line for line in dog.why)
    assert any("name alone: barking dog" in note for note in dog.notes)


def test_who_is_not_named_keeps_what_it_has() -> None:
    nobody = refined(ANYTHING, evidence=both(), candidates=answers("violin"))
    alone = refined(ANYTHING)
    assert (shown(nobody) == shown(alone)).all() and not nobody.heard


@pytest.mark.parametrize("second", [7, None, "", " , ;", "\x00\x1b", ["dog"], {"dog": 1}])
def test_an_unusable_answer_is_said_and_the_ear_is_asked_as_ever(second: Any) -> None:
    told = refined(ANYTHING, evidence=both(), candidates=answers(second))
    assert (shown(told) == shown(refined(ANYTHING, evidence=both()))).all()
    assert any("no candidates for clip 'two-objects'" in note for note in told.notes)


def test_a_video_without_answers_is_said() -> None:
    told = refined(ANYTHING, evidence=both(), candidates={"another": ["a", "b"]})
    assert any("no candidates" in note and "hold none" in note for note in told.notes)


def test_hostile_nouns_are_bounded_and_escaped() -> None:
    second = ", ".join(["<script>alert(1)</script>", "dog", *(f"thing {i}" for i in range(500))])
    found = candidates_of(scenes.clip(), SavedAnswers(answers(second)))
    assert isinstance(found, Candidates) and len(found.nouns) <= MOST_NOUNS and len(found.told) < 250
    result = refined(ANYTHING, evidence=both(), candidates=answers(second))
    assert "<script>alert" not in result.report()


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 1', '{"a": ["x", "y"], "a": ["x", "z"]}', "\xff\xfe", "nan"])
def test_a_file_that_is_no_mapping_is_a_named_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CoPropError, match="said"):
        refined(ANYTHING, evidence=both(), candidates=str(path))


def test_candidates_from_a_file_and_of_wrong_kinds(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    path.write_text(json.dumps(answers("dog")))
    assert list(refined(ANYTHING, evidence=both(), candidates=str(path)).heard) == ["dog"]
    with pytest.raises(CoPropError, match=r"no_such\.json"):
        open_candidates(tmp_path / "no_such.json")
    with pytest.raises(CoPropError, match="got int"):
        open_candidates(3)  # type: ignore[arg-type]
    with pytest.raises(CoPropError, match="evidence=yamnet"):
        cp.CoProp(fusion={"name": "consensus", "candidates": answers("dog")})


def test_nouns_are_told_in_many_ways() -> None:
    assert "dog" in singulars("barking dogs") and "bus" in singulars("buses") and "pony" in singulars("ponies")
    assert singulars("bus")[0] == "bus" and "woman" in singulars("two women")
    wide = Candidates(("an animal", "animal"), "me")
    assert wide.name(("Dog",)) and not wide.name(("Violin, fiddle",))


def of_imagenet(**chances: float) -> np.ndarray:
    found = np.zeros(1000)
    for index, chance in chances.items():
        found[int(index[1:])] = chance
    return found


def test_a_picture_is_told_among_candidates() -> None:
    """0.3 of a dog is too little alone and enough where nothing else that is named is seen; what is hardly seen is none."""
    dog, truck = Candidates(("dog", "violin"), "me"), Candidates(("truck",), "me")
    weak = of_imagenet(**{f"c{DOG}": 0.3, f"c{TRUCK}": 0.3, f"c{BUBBLE}": 0.4})
    assert seen_kind(weak) is None
    found = seen_kind(weak, dog)
    assert found is not None and found.name == "dog"
    assert seen_kind(of_imagenet(**{f"c{DOG}": 0.99}), truck) is None
    assert seen_kind(weak, Candidates(("dog", "truck"), "me")) is None  # neither has most of it
    assert seen_kind(of_imagenet(**{f"c{DOG}": 0.05}), dog) is None
    assert seen_kind(weak, Candidates(("theremin",), "me")) is None


def test_binary_objects_are_told_among_candidates() -> None:
    clip, base = scenes.clip(), scenes.prediction(scenes.STATES, binary=True)
    objects, ear = objects_of(clip, base, Flow()), Ear(["Bark"], scenes.STATES[:, :1])
    for second, known in (("dog", True), ("truck", False)):
        asked = Witness(ear, True, SavedAnswers(answers(second)), pictures=Pictures(DOG))  # type: ignore[arg-type]
        assert asked.ask(clip, base, objects).ratio.any() == known


class Speeds:
    """Flow of our own: the first object moves in the steps after these frames, the second always."""

    about = "a test's flow"

    def __init__(self, moving: set[int]) -> None:
        self.moving = moving

    def speeds(self, clip: cp.Clip) -> Iterator[np.ndarray]:
        masks = scenes.masks(clip.num_frames)
        for t in range(clip.num_frames - 1):
            yield (10.0 * masks[1, t] + 10.0 * masks[0, t] * (t in self.moving)).astype(np.float32)


def test_motion_compares_an_object_with_itself() -> None:
    clip, base = scenes.clip(), named(np.ones_like(scenes.STATES))
    movement = Movement(0.5, MotionMasks(Speeds({0, 1, 2}), MotionRule("mean")))
    moved = movement.ask(clip, objects_of(clip, base, Flow()))
    assert moved.ratio[:3, 0].min() > 0 > moved.ratio[5:, 0].max() and np.abs(moved.ratio).max() <= 0.5
    assert np.allclose(moved.ratio.sum(axis=0), 0, atol=1e-6)
    lines = list(moved.lines(["dog", "cat"]))
    assert len(lines) == 2 and lines[0].startswith("dog: moves more than it mostly does in frames 0-")


def test_what_is_always_alike_or_not_shown_gets_no_word() -> None:
    share = np.array([[1, 0, np.nan], [1, 0, 0.2], [1, 0, 0.8]])
    assert np.allclose(compared(share), [[0, 0, 0], [0, 0, -0.3], [0, 0, 0.3]])


def test_motion_is_off_by_default_and_bounded() -> None:
    late = scenes.late(scenes.STATES, 1)
    assert refined(late, motion=0.0).why == refined(late).why
    moving = refined(late, motion=0.5)
    assert any("motion" in line or "moves" in line for line in moving.why) and not moving.heard
    for wrong in (-0.1, MOST_NATS + 0.1, float("nan")):
        with pytest.raises(CoPropError, match="motion"):
            refined(late, motion=wrong)


def test_a_perfect_model_is_left_alone_whatever_moves() -> None:
    assert refined(scenes.STATES, motion=MOST_NATS).changed == ()
