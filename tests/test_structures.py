"""Data that check themselves: time base, control points, predictions, lazily read frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.errors import PredictionError
from coprop_plugin.structures import FrameSpool, FrameStack, Origin, change_flags, class_sets, parse_sampling
from coprop_plugin.structures.prediction import best_channel


def test_avsbench_frame_k_shows_fifteen_sixteenths_and_owns_its_second() -> None:
    base = cp.TimeBase.of("avsbench", 3)
    assert base.frame_time_s.tolist() == [0.9375, 1.9375, 2.9375]
    assert base.sound_window_s.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_uniform_rates_are_exact_fractions() -> None:
    sampling = parse_sampling("uniform:30000/1001")
    assert sampling.rate_hz == Fraction(30000, 1001) and str(sampling) == "uniform:30000/1001"
    assert cp.TimeBase.of(sampling, 30001).frame_time_s[30000] == pytest.approx(1001.0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uniform", "write uniform:25"),
        ("uniform:x", "not a number"),
        ("uniform:0", "cannot have the rate"),
        ("25", "unknown sampling"),
    ],
)
def test_wrong_samplings_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        parse_sampling(text)


def test_a_change_belongs_to_the_first_frame_whose_midpoint_is_at_or_after_it() -> None:
    base = cp.TimeBase.of("avsbench", 4)
    assert [base.frame_of_change(s) for s in (0.0, 0.5, 0.51, 1.5, 3.5, 3.51)] == [0, 0, 1, 1, 3, None]
    assert base.flags_of_changes([1.2, 9.0]).tolist() == [True, True, False, False]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 7))
def test_segments_tile_the_clip_and_points_survive_json(flags: list[bool], limit: int) -> None:
    flags[0] = True
    count = sum(flags)
    points = cp.ControlPoints(
        np.array(flags),
        confidence=np.linspace(0, 1, len(flags)),
        silent=tuple([True, False, None][i % 3] for i in range(count)),
        categories=tuple(("dog", "man") if i % 2 else None for i in range(count)),
        origin=Origin("test", ("first frame forced",), "changepoint"),
    )
    segments = points.segments(max_segment_frames=limit)
    assert [t for s in segments for t in range(s.start, s.stop)] == list(range(len(flags)))
    assert all(len(s) <= limit for s in segments)
    again = cp.ControlPoints.from_json(points.to_json())
    assert again.flags.tolist() == flags and again.confidence.tolist() == points.confidence.tolist()
    assert (again.silent, again.categories, again.origin) == (points.silent, points.categories, points.origin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"flag": [1]}', "flags is missing"),
        ('{"flags": [0, 1]}', "first frame always"),
        ('{"flags": [1, 2]}', "0 or 1"),
        ('{"flags": [[1]]}', r"flags\[0\] is 0 or 1 or true or false; got a list of 1"),
        ('{"flags": [1, 0], "silent": [true, false]}', "one value per segment"),
        ('{"flags": [1, 0], "confidence": [0.5]}', "confidence"),
        ('{"flags": [1, 0], "categories": ["dog"]}', r"categories\[0\] is a list .*; got 'dog' \(text\)"),
    ],
)
def test_edited_control_points_are_checked(text: str, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        cp.ControlPoints.from_json(text)


def test_class_sets_and_change_flags_follow_the_paper() -> None:
    maps = np.zeros((5, 4, 6), int)
    maps[:2, :3, :2] = 1
    maps[2:4, 1:3, 4:] = 2
    maps[0, 3, 5] = 2  # a speck
    assert class_sets(maps) == [{1, 2}, {1}, {2}, {2}, set()]
    assert class_sets(maps, min_area_px=2)[0] == {1}
    sets = [frozenset(s) for s in ({1}, set(), {1}, {2}, set())]
    assert change_flags(sets).tolist() == [True, True, True, True, True]
    assert change_flags(sets, silence_counts=False).tolist() == [True, False, False, True, False]


def test_a_prediction_checks_shape_kind_and_values() -> None:
    with pytest.raises(PredictionError, match=r"\(T, 2, H, W\)"):
        cp.Prediction(np.zeros((2, 3, 4, 4), np.float32), "logit")
    with pytest.raises(PredictionError, match="unknown kind"):
        cp.Prediction(np.zeros((2, 2, 4, 4), np.float32), "scores")  # type: ignore[arg-type]
    with pytest.raises(CoPropError, match="distinct integers"):
        cp.Prediction(np.zeros((2, 3, 4, 4), np.float32), "logit", class_ids=(0, 1))
    broken = cp.Prediction(np.full((1, 2, 4, 4), np.nan, np.float32), "logit")
    with pytest.raises(PredictionError, match="frame 0 holds NaN"):
        broken.label_map(0)
    logits = cp.Prediction(np.full((1, 2, 4, 4), 3, np.float32), "probability", source="x.npz")
    with pytest.raises(PredictionError, match=r"x\.npz.*say kind='logit'"):
        logits.frame(0)


def test_labels_that_are_no_class_are_named() -> None:
    with pytest.raises(PredictionError, match=r"holds the labels \[7\]"):
        cp.Prediction.from_labels(np.full((1, 4, 4), 7)).label_map(0)


def test_a_binary_logit_is_zero_and_z() -> None:
    z = np.array([[[-1.0, 0.0, 2.0]]], np.float32)
    prediction = cp.Prediction.from_foreground(z, kind="logit")
    assert prediction.frame(0).tolist() == [[[0, 0, 0]], [[-1, 0, 2]]]
    assert prediction.label_map(0).tolist() == [[0, 0, 1]]  # logit 0 is background, as published


def test_frames_are_read_one_at_a_time() -> None:
    read: list[int] = []

    def frame(t: int) -> np.ndarray:
        read.append(t)
        return np.full((2, 2), t)

    stack = FrameStack(frame, num_frames=9, frame_shape=(2, 2), dtype=int)
    assert stack[-1][0, 0] == 8 and stack[2:4].shape == (2, 2, 2) and read == [8, 2, 3]
    with pytest.raises(IndexError):
        stack[9]
    assert np.asarray(stack).shape == (9, 2, 2)


def test_the_spool_gives_back_what_it_took_in_memory_and_on_disk() -> None:
    spool, rng = FrameSpool(limit_bytes=4 * 6 * 2), np.random.default_rng(0)
    arrays = {t: rng.random((2, 3), dtype=np.float32) for t in (5, 1, 9, 4)}
    for t, array in arrays.items():
        spool[t] = array
    assert spool.indices == [1, 4, 5, 9] and spool.held_bytes <= spool.limit_bytes
    assert all((spool[t] == array).all() for t, array in arrays.items())


def test_a_clip_needs_as_many_frames_as_its_time_base() -> None:
    with pytest.raises(CoPropError, match="3 frames, but a time base of 2"):
        cp.Clip("x", np.zeros((3, 4, 4, 3), np.uint8), cp.Sound.silence(2), cp.TimeBase.of("avsbench", 2))


def test_a_window_of_sound_beyond_the_end_is_silence() -> None:
    sound = cp.Sound(np.ones(100, np.float32), 100)
    assert sound.window(0.5, 1.5).tolist() == [1] * 50 + [0] * 50
    assert sound.window(-0.1, 0.1).tolist() == [0] * 10 + [1] * 10


@given(st.integers(2, 6), st.integers(0, 1000))
def test_the_fast_argmax_is_the_argmax(channels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (channels, 5, 7)).astype(np.float32)
    assert (best_channel(scores) == scores.argmax(axis=0)).all()
