"""Sound as evidence: an ear that knows an object is listened to, one that does not says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scenes

import coprop_plugin as cp
from coprop_plugin.audio.tags import Tags
from coprop_plugin.errors import CoPropError
from coprop_plugin.fusion.candidates import sounds_of
from coprop_plugin.fusion.evidence import MAX_RATIO, EarWeights, Witness, likelihood_ratio, witness
from coprop_plugin.fusion.objects import objects_of
from coprop_plugin.fusion.states import Heard, read_states
from coprop_plugin.propagators.flow import Flow

NAMES = {1: "dog", 2: "cat"}
T = len(scenes.STATES)


class Ear:
    """Hears each of its labels surely in some frames and surely not in the others."""

    def __init__(self, labels: Sequence[str], heard: np.ndarray) -> None:
        self.labels, self.heard = tuple(labels), heard

    def tags(self, clip: cp.Clip) -> Tags:
        return Tags(self.labels, clip.time_base.sound_window_s, np.where(self.heard, 4.0, -20.0).astype(np.float32))


def named(states: np.ndarray) -> cp.Prediction:
    base = scenes.prediction(states)
    return cp.Prediction(base.scores, base.kind, base.class_ids, labels=base.labels, names=NAMES, source="named")


def refined(states: np.ndarray, ear: Ear | str) -> cp.Result:
    fusion = {"name": "consensus", "evidence": ear}
    return cp.CoProp(control_points=scenes.points(scenes.STATES), fusion=fusion)(scenes.clip(), named(states))


def shown(result: cp.Result) -> np.ndarray:
    return np.stack([[(result.prediction.label_map(t) == c).any() for c in (1, 2)] for t in range(T)])


def test_a_model_that_shows_everything_is_helped_by_who_is_heard() -> None:
    anything = scenes.STATES.any(axis=1, keepdims=True)
    everything = np.broadcast_to(anything, scenes.STATES.shape).copy()
    heard = refined(everything, Ear(["Dog", "Cat"], scenes.STATES))
    alone = refined(everything, "off")
    wrong = [(shown(result) != scenes.STATES).sum() for result in (heard, alone)]
    assert wrong[0] < wrong[1]
    assert any("listened for Dog" in line and "heard in frame" in line for line in heard.why)


def test_where_the_ear_knows_no_class_nothing_changes() -> None:
    late = scenes.late(scenes.STATES, 1)
    deaf, alone = refined(late, Ear(["Theremin"], scenes.STATES[:, :1])), refined(late, "off")
    assert (shown(deaf) == shown(alone)).all() and deaf.changed == alone.changed
    assert any("does not know" in line for line in deaf.why)


def test_an_ear_that_agrees_with_a_perfect_model_changes_nothing() -> None:
    assert refined(scenes.STATES, Ear(["Dog", "Cat"], scenes.STATES)).changed == ()


def test_evidence_moves_belief_its_own_way_and_none_is_the_same_as_not_asked() -> None:
    present = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)
    flags, change = np.array([1, 0, 1, 0], bool), np.array([1, 0.1, 0.9, 0.1])
    silence = np.full(4, 0.05)
    plain = read_states(present, Heard(flags, change, silence)).sounding
    nothing = read_states(present, Heard(flags, change, silence, np.zeros((4, 2)))).sounding
    assert np.allclose(plain, nothing)
    for sign in (-1, 1):
        ratio = np.stack([np.full(4, 2.0 * sign), np.zeros(4)], axis=1)
        moved = read_states(present, Heard(flags, change, silence, ratio)).sounding
        assert (sign * (moved[:, 0] - plain[:, 0]) > 0).all()


def test_ratios_are_bounded_and_rise_with_the_logit() -> None:
    ratio = likelihood_ratio(np.linspace(-40, 40, 30), EarWeights(0, 0.5))
    assert (np.diff(ratio) >= 0).all() and np.abs(ratio).max() <= MAX_RATIO


def test_names_are_found_in_the_tables() -> None:
    assert "Cello" in sounds_of("cello") and "Bark" in sounds_of("dog") and sounds_of("theremin") == ("theremin",)


def test_what_is_no_ear_is_refused() -> None:
    with pytest.raises(CoPropError, match="evidence=off"):
        witness("loud")
    with pytest.raises(CoPropError, match="evidence"):
        cp.CoProp(fusion={"name": "consensus", "evidence": 3})


def test_the_report_has_a_lane_of_what_was_heard() -> None:
    result = refined(scenes.STATES, Ear(["Dog"], scenes.STATES[:, :1]))
    assert list(result.heard) == ["dog"] and result.heard["dog"].shape == (T,)
    assert "heard: dog" in result.report() and "heard:" not in refined(scenes.STATES, "off").report()


class Pictures:
    """Sees the same class of ImageNet in every crop."""

    def __init__(self, index: int) -> None:
        self.index = index

    def crop_logits(self, frame: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return np.where(np.arange(1000) == self.index, 20.0, 0.0)[None].repeat(len(masks), axis=0)


@pytest.mark.parametrize(("label", "known"), [("Bark", True), ("Meow", False)])
def test_binary_objects_are_known_by_picture_if_that_is_heard_somewhere(label: str, known: bool) -> None:
    clip, base = scenes.clip(), scenes.prediction(scenes.STATES, binary=True)
    objects = objects_of(clip, base, Flow())
    ear = Ear([label], scenes.STATES[:, :1])
    asked = Witness(ear, True, pictures=Pictures(207)).ask(clip, base, objects)  # type: ignore[arg-type]
    assert all(bool(names) == known for names in asked.sounds) and asked.ratio.any() == known
    unheard = Witness(Ear([label], np.zeros((T, 1), bool)), True, pictures=Pictures(207))  # type: ignore[arg-type]
    assert not unheard.ask(clip, base, objects).ratio.any()
    assert not Witness(ear).ask(clip, base, objects).ratio.any()
