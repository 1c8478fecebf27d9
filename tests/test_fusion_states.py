"""How probably objects sound: exactness of the sums, reading through faults, and doing no harm."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.errors import CoPropError
from coprop_plugin.fusion.beliefs import Beliefs
from coprop_plugin.fusion.decide import decide
from coprop_plugin.fusion.patterns import MAX_UNITS, shifted_patterns, unit_patterns
from coprop_plugin.fusion.states import Heard, Reading, _jointly, read_states
from coprop_plugin.structures import change_flags


def heard(flags: np.ndarray, *, silent: np.ndarray | None = None, trust: float = 0.97) -> Heard:
    flags = np.asarray(flags, bool)
    silence = np.full(len(flags), np.nan) if silent is None else np.where(silent, 0.97, 0.03)
    return Heard(flags, np.where(flags, trust, 1 - trust), silence)


def right(present: np.ndarray, reading: Reading, truth: np.ndarray) -> bool:
    """Where the states are likelier than not, they are true."""
    return bool(((reading.sounding > 0.5) == truth).all())


def flags_of(sounding: np.ndarray) -> np.ndarray:
    return change_flags([frozenset(np.flatnonzero(row).tolist()) for row in sounding])


def shown_late(sounding: np.ndarray, onset: int, offset: int) -> np.ndarray:
    """Every interval of every object moved at its two ends, event by event; the clip's ends go on."""
    num_frames, num_objects = sounding.shape
    shown = np.zeros_like(sounding)
    for c in range(num_objects):
        t = 0
        while t < num_frames:
            if not sounding[t, c]:
                t += 1
                continue
            stop = t
            while stop < num_frames and sounding[stop, c]:
                stop += 1
            start = 0 if t == 0 else t + onset
            end = num_frames if stop == num_frames else stop + offset
            shown[max(0, start) : max(0, end), c] = True
            t = stop
    return shown


STATES = np.array(
    [[1, 1, 0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]], bool
).T


@pytest.mark.parametrize(("onset", "offset"), [(1, 1), (0, 1), (-1, 0), (0, 2), (2, 2), (-1, -1)])
def test_a_model_that_is_late_or_early_is_read_through(onset: int, offset: int) -> None:
    states = np.repeat(STATES, 2, axis=0) if max(onset, offset) > 1 else STATES
    shown = shown_late(states, onset, offset)
    reading = read_states(shown, heard(flags_of(states), silent=~states.any(axis=1)))
    assert (reading.onset_shift, reading.offset_shift) == (onset, offset) and reading.shift_probability > 0.5
    assert right(shown, reading, states)


@pytest.mark.parametrize("frames", [1, 2])
def test_control_points_that_may_all_be_late_leave_a_right_model_as_it_is(frames: int) -> None:
    states = np.repeat(STATES, 2, axis=0)
    flags = flags_of(states)
    late = heard(np.append(True, np.append(np.zeros(frames, bool), flags[1:-frames])))
    assert not right(states, read_states(states, late), states)  # as facts they have the model early
    doubted = read_states(states, replace(late, may_be_late=True))
    assert (doubted.onset_shift, doubted.offset_shift) == (0, 0) and right(states, doubted, states)
    lagging = shown_late(states, 1, 1)  # a late model is read through all the same
    assert right(lagging, read_states(lagging, replace(heard(flags), may_be_late=True)), states)


def test_a_segment_without_one_right_answer_is_read_from_the_others() -> None:
    states = STATES.copy()
    states[5, 1] = False  # frame 5 alone shows object 0 only after a segment of object 1
    states[6:8, 0] = False  # … and silence follows: the model one frame late shows object 0 too late everywhere
    late = shown_late(states, 1, 1)
    assert not (late[5] == states[5]).all()
    assert right(late, read_states(late, heard(flags_of(states), silent=~states.any(axis=1))), states)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 10_000))
def test_a_perfect_model_with_true_control_points_is_left_alone(num_frames: int, objects: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = np.repeat(rng.random((num_frames, objects)) < 0.5, rng.integers(1, 4), axis=0)
    sound = heard(flags_of(states), silent=~states.any(axis=1))
    verdict = decide(states, read_states(states, sound).sounding, sound.silence, max_harm=0.1)
    assert (verdict.sounding == states).all()


def test_a_perfect_model_seldom_loses_by_control_points_that_are_all_wrong() -> None:
    changed = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        states = np.repeat(rng.random((5, 2)) < 0.5, 2, axis=0)
        sound = heard(np.append(True, rng.random(9) < 0.4), trust=0.8)
        verdict = decide(states, read_states(states, sound).sounding, sound.silence, max_harm=0.1)
        changed.append((verdict.sounding != states).sum())
    assert np.mean(np.array(changed) > 0) <= 0.1 and np.max(changed) <= 5


def test_one_wrong_answer_inside_a_long_segment_is_outvoted() -> None:
    present = np.ones((10, 1), bool)
    present[4] = False
    sound = heard(np.eye(1, 10)[0], silent=np.zeros(10, bool))
    assert (read_states(present, sound).sounding > 0.9).all()


def test_silence_takes_what_is_shown_as_far_as_it_is_sure() -> None:
    present, flags = np.ones((6, 1), bool), np.array([1, 0, 0, 1, 0, 0], bool)
    by_silence = []
    for silence in (0.5, 0.9, 0.99):
        sound = Heard(flags, heard(flags).change, np.where(np.arange(6) > 2, silence, 0.02))
        by_silence.append(float(read_states(present, sound).sounding[3:].max()))
    assert by_silence[0] > 0.5 > by_silence[1] > by_silence[2] and by_silence[2] < 0.1
    unknown = Heard(flags, heard(flags).change, np.full(6, np.nan))
    assert (read_states(present, unknown).sounding > 0.7).all()


def test_a_sound_that_no_shown_object_makes_speaks_for_those_that_are_missing() -> None:
    present = np.array([[0], [1], [0], [0], [1], [0]], bool)
    flags = np.eye(1, 6)[0]
    steady, unknown = (read_states(present, heard(flags, silent=s)).sounding for s in (np.zeros(6, bool), None))
    assert (steady > unknown).all()


def test_nothing_shown_is_nothing_sounding() -> None:
    assert read_states(np.zeros((5, 0), bool), heard(np.array([1, 0, 1, 0, 0]))).sounding.shape == (5, 0)


def test_a_long_clip_is_read_in_windows_like_its_pieces() -> None:
    states = np.tile(np.repeat(STATES, 3, axis=0), (8, 1))  # 240 frames, many more units than a window holds
    assert flags_of(states).sum() > 3 * MAX_UNITS
    late = shown_late(states, 2, 2)
    sound = heard(flags_of(states), silent=~states.any(axis=1))
    reading = read_states(late, sound, max_shift_frames=4)
    assert (reading.onset_shift, reading.offset_shift) == (2, 2)
    assert ((reading.sounding > 0.5) == states).mean() > 0.99


@pytest.mark.parametrize(("onset", "offset"), [(0, 0), (1, 1), (0, 2), (-2, 0), (1, -1), (-1, -1)])
def test_shifted_patterns_move_the_ends_of_every_interval(onset: int, offset: int) -> None:
    starts = (0, 2, 5, 9)
    states = np.repeat(unit_patterns(3)[0] > 0, np.diff(starts), axis=1)
    shown = shifted_patterns(starts, onset, offset)
    inner = slice(3, 6)  # away from the ends, where the definition of an interval cut by the clip's end differs
    for pattern, row in zip(states, shown, strict=True):
        expected = shown_late(pattern[:, None], onset, offset)[:, 0]
        assert (row[inner] == expected[inner]).all()


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_the_joint_sum_is_that_over_all_choices(seed: int, objects: int) -> None:
    rng = np.random.default_rng(seed)
    logs, does, wanted = rng.normal(0, 1, (objects, 4)), (rng.random((objects, 4, 2)) < 0.5) * 1.0, rng.random(2)
    chances, evidence = _jointly(logs[None], does, wanted)
    total, exact = 0.0, np.zeros((objects, 4))
    for choice in product(range(4), repeat=objects):
        done = np.array([does[c, k] for c, k in enumerate(choice)]).any(axis=0)
        weight = np.exp(sum(logs[c, k] for c, k in enumerate(choice)) - wanted[~done].sum())
        total += weight
        for c, k in enumerate(choice):
            exact[c, k] += weight
    tolerance = 1e-9 if objects == 1 else 0.06  # belief propagation is exact for one object
    assert chances[0] == pytest.approx(exact / total, abs=tolerance)
    assert evidence[0] == pytest.approx(np.log(total), abs=2 * tolerance)


def test_beliefs_can_be_set_and_are_checked() -> None:
    present = np.array([[1], [1], [0], [0]], bool)
    sound = heard(np.array([1, 0, 0, 1]))  # the sound says one frame later than the model does
    trusting = read_states(present, sound, beliefs=Beliefs(seen=1.0, missed=0.001, shift=9)).sounding[2, 0]
    doubting = read_states(present, sound, beliefs=Beliefs(seen=0.1, missed=0.3, shift=9)).sounding[2, 0]
    assert trusting > 0.5 > doubting
    with pytest.raises(CoPropError, match="belief of consensus"):
        Beliefs.named({"sean": 1.0})
    with pytest.raises(CoPropError, match="above 0"):
        Beliefs(stubborn=0)


def test_no_frame_is_emptied_in_doubt() -> None:
    present, probability = np.ones((3, 1), bool), np.array([[0.01], [0.01], [0.01]])
    verdict = decide(present, probability, np.array([np.nan, 0.6, 0.95]), max_harm=0.1)
    assert verdict.sounding[:, 0].tolist() == [True, True, False] and verdict.kept.tolist() == [True, True, False]
    nothing = decide(present, probability, np.full(3, 0.99), max_harm=0.0)
    assert (nothing.sounding == present).all()
