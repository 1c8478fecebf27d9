"""Reading which objects sound: exactness of the search, and doing no harm."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.fusion.states import MAX_UNITS, Costs, _jointly, read_states, shifted_patterns, unit_patterns
from coprop_plugin.structures import change_flags


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
    reading = read_states(shown_late(states, onset, offset), flags_of(states))
    assert (reading.onset_shift, reading.offset_shift) == (onset, offset)
    assert (reading.sounding == states).all()


def test_a_segment_without_one_right_answer_is_read_from_the_others() -> None:
    states = STATES.copy()
    states[5, 1] = False  # frame 5 alone shows object 0 only after a segment of object 1
    states[6:8, 0] = False  # … and silence follows: the model one frame late shows object 0 too late everywhere
    late = shown_late(states, 1, 1)
    assert not (late[5] == states[5]).all()
    assert (read_states(late, flags_of(states)).sounding == states).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 24), st.integers(1, 4), st.integers(0, 10_000))
def test_a_perfect_model_with_true_control_points_is_left_alone(num_frames: int, objects: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = np.repeat(rng.random((num_frames, objects)) < 0.5, rng.integers(1, 4), axis=0)
    reading = read_states(states, flags_of(states))
    assert (reading.sounding == states).all() and reading.cost == pytest.approx(0, abs=1e-6)


def test_one_wrong_answer_inside_a_long_segment_is_outvoted() -> None:
    states = np.ones((10, 1), bool)
    present = states.copy()
    present[4] = False
    assert read_states(present, flags_of(states)).sounding.all()


def test_frames_that_the_sound_calls_silent_hold_no_object() -> None:
    present = np.ones((6, 1), bool)
    flags = np.array([1, 0, 0, 1, 0, 0], bool)
    silent = np.array([0, 0, 0, 1, 1, 1], bool)
    assert read_states(present, flags, silent=silent).sounding[:, 0].tolist() == [True] * 3 + [False] * 3


def test_nothing_shown_is_nothing_sounding() -> None:
    assert read_states(np.zeros((5, 0), bool), np.array([1, 0, 1, 0, 0], bool)).sounding.shape == (5, 0)


def test_a_long_clip_is_read_in_windows_like_its_pieces() -> None:
    states = np.tile(np.repeat(STATES, 3, axis=0), (8, 1))  # 240 frames, many more units than a window holds
    assert flags_of(states).sum() > 3 * MAX_UNITS
    late = shown_late(states, 2, 2)
    reading = read_states(late, flags_of(states), max_shift_frames=4)
    assert (reading.onset_shift, reading.offset_shift) == (2, 2)
    assert (reading.sounding == states).mean() > 0.99


@pytest.mark.parametrize(("onset", "offset"), [(0, 0), (1, 1), (0, 2), (-2, 0), (1, -1), (-1, -1)])
def test_shifted_patterns_move_the_ends_of_every_interval(onset: int, offset: int) -> None:
    starts = (0, 2, 5, 9)
    states = np.repeat(unit_patterns(3), np.diff(starts), axis=1)
    shown = shifted_patterns(starts, onset, offset)
    inner = slice(3, 6)  # away from the ends, where the definition of an interval cut by the clip's end differs
    for pattern, row in zip(states, shown, strict=True):
        expected = shown_late(pattern[:, None], onset, offset)[:, 0]
        assert (row[inner] == expected[inner]).all()


@given(st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_joint_choice_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong, moved, price = rng.random((4, 3)), rng.random((4, 2)) < 0.5, rng.random(2)

    def cost(choice: tuple[int, ...]) -> float:
        covered = moved[list(choice)].any(axis=0)
        return float(sum(wrong[p, c] for c, p in enumerate(choice)) + price[~covered].sum())

    chosen, total = _jointly(wrong, moved, price)
    assert total == pytest.approx(min(map(cost, product(range(4), repeat=3))))
    assert cost(tuple(chosen)) == pytest.approx(total)


def test_prices_can_be_set() -> None:
    present = np.array([[1], [1], [0], [0]], bool)
    flags = np.array([1, 0, 0, 1], bool)  # the sound says one frame later than the model does
    trusting = read_states(present, flags, costs=Costs(shift=9, change_elsewhere=5, no_change=5)).sounding[:, 0]
    doubting = read_states(present, flags, costs=Costs(shift=9, change_elsewhere=0, no_change=0)).sounding[:, 0]
    assert trusting.tolist() == [True, True, True, False] and doubting.tolist() == [True, True, False, False]
