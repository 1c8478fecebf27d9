"""Propagators without weights on a clip whose motion is known exactly."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.flow import Flow
from coprop_plugin.propagators.hold import Hold

SIZE, SIDE, SPEED_PX = 224, 72, 15


def textured(seed: int, size: int) -> np.ndarray:
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


BACKGROUND, OBJECT = textured(0, SIZE), 255 - textured(1, SIDE)


def drawn(time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the object's mask: a square that moves to the right by SPEED_PX a second."""
    frame, mask = BACKGROUND.copy(), np.zeros((SIZE, SIZE), bool)
    x = 10 + round(SPEED_PX * time_s)
    frame[70 : 70 + SIDE, x : x + SIDE] = OBJECT
    mask[70 : 70 + SIDE, x : x + SIDE] = True
    return frame, mask


def moving_clip(num_frames: int = 5, *, video: bool = True) -> tuple[cp.Clip, np.ndarray]:
    base = cp.TimeBase.of("uniform:1", num_frames)
    shown = [drawn(s) for s in base.frame_time_s]

    def between(start_s: float, stop_s: float) -> Iterator[np.ndarray]:
        return (drawn(s)[0] for s in np.arange(start_s, stop_s, 1 / 12)[1:])

    frames = np.stack([frame for frame, _ in shown])
    clip = cp.Clip("moving", frames, cp.Sound.silence(num_frames), base, between if video else None)
    return clip, np.stack([mask for _, mask in shown])


def task_of(mask: np.ndarray, *, start: int, stop: int, anchor: int) -> PropagationTask:
    foreground = mask.astype(np.float32)
    return PropagationTask(start, stop, anchor, np.stack([1 - foreground, foreground]))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("anchor", [0, 2, 4])
def test_flow_follows_the_object_both_ways(anchor: int) -> None:
    clip, truth = moving_clip()
    masks = next(Flow().propagate(clip, [task_of(truth[anchor], start=0, stop=5, anchor=anchor)]))
    assert masks.shape == (5, 2, SIZE, SIZE) and masks.dtype == np.float32
    assert (masks[anchor, 1] == truth[anchor]).all()
    assert all(overlap(masks[t, 1] > 0.5, truth[t]) > 0.97 - 0.14 * abs(t - anchor) for t in range(5))
    assert np.abs(masks.sum(axis=1) - 1).max() < 1e-5


def test_flow_beats_hold_with_and_without_frames_in_between() -> None:
    clip, truth = moving_clip()
    still, _ = moving_clip(video=False)
    task = task_of(truth[0], start=0, stop=5, anchor=0)
    held, flowed, jumped = (
        np.mean([overlap(next(p.propagate(c, [task]))[t, 1] > 0.5, truth[t]) for t in range(1, 5)])
        for p, c in ((Hold(), clip), (Flow(), clip), (Flow(), still))
    )
    assert min(flowed, jumped) > held + 0.3


def test_frames_in_between_are_followed_where_the_object_moves_too_far_for_one_step(monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.SPEED_PX", 60)
    clip, truth = moving_clip(3)
    still, _ = moving_clip(3, video=False)
    task = task_of(truth[0], start=0, stop=2, anchor=0)
    through, at_once = (overlap(next(Flow().propagate(c, [task]))[1, 1] > 0.5, truth[1]) for c in (clip, still))
    assert through > at_once + 0.3


def test_masks_at_another_size_come_back_at_that_size() -> None:
    clip, truth = moving_clip()
    small = truth[:, ::2, ::2]
    masks = next(Flow().propagate(clip, [task_of(small[0], start=0, stop=5, anchor=0)]))
    assert masks.shape[2:] == small.shape[1:]
    assert min(overlap(masks[t, 1] > 0.5, small[t]) for t in range(5)) > 0.5


def test_tasks_together_are_tasks_alone_and_the_cache_changes_nothing() -> None:
    clip, truth = moving_clip()
    tasks = [task_of(truth[0], start=0, stop=3, anchor=0), task_of(truth[4], start=1, stop=5, anchor=4)]
    together = list(Flow().propagate(clip, tasks))
    alone = [next(Flow(cache_bytes=0).propagate(clip, [task])) for task in tasks]
    assert all((a == b).all() for a, b in zip(together, alone, strict=True))


def test_the_flow_cache_stays_within_its_bound() -> None:
    flow = Flow(cache_bytes=2_000_000)
    for _ in range(3):
        clip, truth = moving_clip()
        next(flow.propagate(clip, [task_of(truth[0], start=0, stop=5, anchor=0)]))
        assert flow._cache.held_bytes <= 2_000_000


def test_nothing_is_kept_of_clips_that_are_done() -> None:
    flow = Flow()
    clip, truth = moving_clip()
    next(flow.propagate(clip, [task_of(truth[0], start=0, stop=5, anchor=0)]))
    assert flow._cache.held_bytes > 0
    del clip, truth
    gc.collect()
    assert (flow._cache.held_bytes, len(flow._cache)) == (0, 0)


def test_an_empty_mask_stays_empty_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, _ = moving_clip()
    monkeypatch.setattr(Flow, "_step", lambda *_: pytest.fail("an empty mask needs no flow"))
    empty = next(Flow().propagate(clip, [task_of(np.zeros((SIZE, SIZE)), start=0, stop=5, anchor=1)]))
    assert not (empty[:, 1] > 0).any()


@pytest.mark.parametrize("propagator", [Hold(), Flow()], ids=["hold", "flow"])
def test_a_range_beyond_the_clip_is_refused(propagator) -> None:
    clip, truth = moving_clip()
    with pytest.raises(CoPropError, match=r"5 frames; a task asks for \[0, 6\)"):
        next(propagator.propagate(clip, [task_of(truth[0], start=0, stop=6, anchor=0)]))


def test_a_task_checks_its_anchor_and_mask() -> None:
    with pytest.raises(CoPropError, match="anchor 3 must lie"):
        task_of(np.zeros((4, 4)), start=0, stop=3, anchor=3)
    with pytest.raises(CoPropError, match="background first"):
        PropagationTask(0, 1, 0, np.zeros((1, 4, 4), np.float32))
