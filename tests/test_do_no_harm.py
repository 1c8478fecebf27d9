"""Right masks stay as they are: like objects that touch and move, speakers with pauses, steady sounds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scenes

import coprop_plugin as cp
from coprop_plugin.control_points.silence import silence_probability
from coprop_plugin.fusion.objects import _LAST, MOST_CLIPS, objects_of
from coprop_plugin.fusion.tracks import Tracks
from coprop_plugin.propagators.flow import Flow
from coprop_plugin.structures.control_points import SOUND_AND_SILENCE

RATE_HZ = 16000
SIZE = 120


def two_dogs(num_frames: int = 8) -> tuple[cp.Clip, np.ndarray]:
    """A clip and ``(T, H, W) bool`` masks: two like discs walk towards each other, touch, and part again."""
    fur = scenes.textured(3, SIZE) // 2 + 60
    y, x = np.mgrid[:SIZE, :SIZE]
    frames, masks = [], []
    for t in range(num_frames):
        gap = 15 + abs(t - num_frames // 2) * 9  # half of the distance between the middles; they touch below 16
        shown = np.zeros((SIZE, SIZE), bool)
        frame = scenes.textured(0, SIZE) // 2
        for side in (-1, 1):
            middle = SIZE // 2 + side * gap, SIZE // 2 + 2 * t
            disc = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < 16**2
            moved = cv2.warpAffine(
                fur, np.float32([[1, 0, side * gap], [0, 1, 2 * t]]), (SIZE, SIZE), borderMode=cv2.BORDER_WRAP
            )  # type: ignore[call-overload]
            frame = np.where(disc[..., None], moved, frame)
            shown |= disc
        frames.append(frame.astype(np.uint8))
        masks.append(shown)
    clip = cp.Clip("dogs", np.stack(frames), cp.Sound.silence(num_frames), cp.TimeBase.of("avsbench", num_frames))
    return clip, np.stack(masks)


def binary(masks: np.ndarray) -> cp.Prediction:
    return cp.Prediction.from_labels(masks.astype(np.int16))


def sounding(flags: list[int]) -> cp.ControlPoints:
    return cp.ControlPoints(np.array(flags), silent=(False,) * sum(flags))


@pytest.mark.parametrize("flags", [[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 1, 0, 0], [1, 1, 1, 0, 1, 0, 1, 1]])
def test_two_like_objects_that_touch_and_move_lose_nothing(flags: list[int]) -> None:
    clip, masks = two_dogs()
    result = cp.CoProp(control_points=sounding(flags))(clip, binary(masks))
    assert result.changed == ()
    assert all(((result.prediction.label_map(t) > 0) == masks[t]).all() for t in range(8))


def test_like_objects_are_followed_through_their_touch_or_taken_for_one() -> None:
    clip, masks = two_dogs()
    present = Tracks(clip, binary(masks), Flow()).present
    assert present.all() and present.shape[1] in (1, 2)  # no track of one frame


def test_a_split_object_stays_one() -> None:
    clip, masks = two_dogs()
    masks = masks & (np.arange(SIZE) < SIZE // 2)  # the left one alone
    masks[5, SIZE // 2 + 8 : SIZE // 2 + 11] = False  # cut through by a gap in one frame
    assert Tracks(clip, binary(masks), Flow()).present.tolist() == [[True]] * 8


def test_two_objects_that_look_different_are_told_apart() -> None:
    states = np.zeros((10, 2), bool)
    states[:5, 0], states[5:, 1] = True, True  # never shown together
    found = Tracks(scenes.clip(), scenes.prediction(states, binary=True), Flow()).present
    assert found.shape == (10, 2) and (found.sum(axis=1) == 1).all()


def test_a_steady_sound_with_two_good_masks_keeps_them() -> None:
    shown = np.zeros((5, 2), bool)
    shown[[1, 3], 0] = True
    tone = np.sin(np.arange(5 * RATE_HZ) * 0.1).astype(np.float32) * 0.1
    clip = scenes.clip(5, cp.Sound(tone, RATE_HZ))
    for semantic in (True, False):
        refined = cp.CoProp()(clip, scenes.prediction(shown, binary=not semantic)).prediction
        assert all(refined.label_map(t).any() for t in (1, 3))


def speech(pauses_s: list[tuple[float, float]], duration_s: float = 10) -> cp.Sound:
    """Syllables of noise with a hum of the room at -50 dB; nobody speaks in the pauses."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    voice = np.sin(2 * np.pi * 140 * time_s + 3 * np.sin(2 * np.pi * 3 * time_s)) * (
        0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_s)
    )
    for start, stop in pauses_s:
        voice[(time_s >= start) & (time_s < stop)] = 0
    return cp.Sound((0.2 * voice + 0.0006 * rng.standard_normal(len(time_s))).astype(np.float32), RATE_HZ)


def test_short_pauses_of_a_speaker_erase_nothing_and_long_silence_is_sure() -> None:
    shown = np.zeros((10, 2), bool)
    shown[:, 0] = True
    paused = scenes.clip(10, speech([(2.2, 2.7), (5.1, 5.7), (8.0, 8.5)]))
    assert cp.CoProp()(paused, scenes.prediction(shown)).changed == ()
    long = scenes.clip(10, speech([(6, 10)]))
    points = cp.CoProp().control_points(long)
    assert points.silence is not None and (points.silence[7:] > 0.8).all() and (points.silence[:5] < 0.1).all()


def test_nothing_in_a_steady_sound_is_surely_silent() -> None:
    hum = (0.003 * np.random.default_rng(1).standard_normal(6 * RATE_HZ)).astype(np.float32)
    silence = silence_probability(cp.Sound(hum, RATE_HZ), cp.TimeBase.of("avsbench", 6), np.ones(6, bool))
    assert (silence < 0.9).all()


def test_every_edit_and_abstention_says_why() -> None:
    late = scenes.prediction(scenes.late(scenes.STATES, 1))
    result = cp.CoProp(control_points=scenes.points(scenes.STATES))(scenes.clip(), late)
    told = " ".join(result.why)
    assert len(result.why) >= 4 and "1 frame late" in told and "is erased" in told and "is brought back" in told
    unchanged = cp.CoProp(control_points=scenes.points(scenes.STATES))(scenes.clip(), scenes.prediction(scenes.STATES))
    assert unchanged.changed == () and all("left as it is" in w or "nothing to change" in w for w in unchanged.why)
    careful = cp.CoProp(control_points=scenes.points(scenes.STATES), fusion="consensus:max_harm=0.0001")
    assert any("is left as it is" in line for line in careful(scenes.clip(), late).why)


def test_the_objects_of_a_prediction_are_looked_for_once_and_few_clips_are_kept() -> None:
    clip, masks = two_dogs(3)
    base, follower = binary(masks), Flow()
    found = objects_of(clip, base, follower)
    assert objects_of(clip, base, follower) is found
    assert objects_of(clip, binary(masks), follower) is not found
    others = [two_dogs(3) for _ in range(MOST_CLIPS + 1)]
    for other, shown in others:
        objects_of(other, binary(shown), follower)
    assert objects_of(clip, base, follower) is not found and len(_LAST) <= MOST_CLIPS


def test_specks_beside_an_object_are_no_objects_of_their_own() -> None:
    clip, masks = two_dogs()
    masks = masks & (np.arange(SIZE) < SIZE // 2)
    for t in (2, 5):
        y, x = np.argwhere(masks[t]).min(axis=0)
        masks[t, y : y + 5, x - 2 : x + 3] = True
        masks[t, y : y + 5, x + 3] = masks[t, y : y + 5, x + 4] = False
    assert Tracks(clip, binary(masks), Flow()).present.shape[1] == 1


def passed_before(num_frames: int = 5) -> tuple[cp.Clip, np.ndarray]:
    """A clip and ``(T, H, W) bool`` masks: a long animal leaps about; in one frame a post stands before its middle."""
    fur, post = scenes.textured(3, SIZE) // 2 + 100, np.full((SIZE, SIZE, 3), (20, 160, 30), np.uint8)
    y, x = np.mgrid[:SIZE, :SIZE]
    frames, masks = [], []
    for t in range(num_frames):
        middle = [(40, 60), (78, 20), (42, 100), (76, 42), (44, 85)][t]
        animal = ((x - middle[0]) / 34) ** 2 + ((y - middle[1]) / 12) ** 2 < 1
        hidden = (np.abs(x - middle[0]) < 12) if t == 3 else np.zeros_like(animal)
        moved = np.roll(fur, (middle[1], middle[0]), (0, 1))
        frame = np.where(animal[..., None], moved, scenes.textured(0, SIZE) // 2)
        frames.append(np.where(hidden[..., None], post, frame).astype(np.uint8))
        masks.append(animal & ~hidden)
    clip = cp.Clip("leaps", np.stack(frames), cp.Sound.silence(num_frames), cp.TimeBase.of("avsbench", num_frames))
    return clip, np.stack(masks)


def test_parts_of_an_object_before_which_something_stands_are_that_object() -> None:
    clip, masks = passed_before()
    assert Tracks(clip, binary(masks), Flow()).present.tolist() == [[True]] * 5
    result = cp.CoProp(control_points=sounding([1, 0, 0, 0, 0]))(clip, binary(masks))
    assert result.changed == ()


def test_what_is_larger_than_what_was_lost_is_an_object_of_its_own() -> None:
    clip, masks = passed_before()
    masks[1] |= passed_before()[1][2]  # a second one, while the first is whole
    assert Tracks(clip, binary(masks), Flow()).present.shape[1] == 2


@pytest.mark.parametrize(
    "generator",
    ["none", "every_k:k=3", "cosine", "cosine-logmel", "cosine-yamnet", "tagger", "rcpg", "from_masks"],
)
@pytest.mark.parametrize("binary", [True, False])
def test_a_generator_that_hears_no_change_is_no_proof_that_there_is_none(generator: str, binary: bool) -> None:
    """Right masks of objects that come and go, under yes and no without probabilities, wherever they say them."""
    rng = np.random.default_rng(0)
    clip, by = scenes.clip(), generator.partition(":")[0]
    for _ in range(4):
        states = np.zeros((10, 2), bool)
        states[:4, 0] = states[2:7, 1] = states[7:, 0] = True
        flags = np.r_[True, rng.random(9) < rng.choice([0, 0.3])]
        name = f"{by} {SOUND_AND_SILENCE}" if by == "from_masks" else by
        points = cp.ControlPoints(flags, silent=(None,) * int(flags.sum()), origin=cp.structures.Origin(name))
        assert cp.CoProp(control_points=points)(clip, scenes.prediction(states, binary=binary)).changed == ()
