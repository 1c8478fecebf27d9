"""An hour of video costs no more memory than its parts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import coprop_plugin as cp
from coprop_plugin.structures import FrameStack

SIDE = 96


def steady_clip(num_frames: int) -> tuple[cp.Clip, cp.Prediction]:
    """A frame a second; an object that sounds all the time and moves, shown by a model that flickers."""

    def mask(t: int) -> np.ndarray:
        foreground = np.full((SIDE, SIDE), 0.05, np.float32)
        if t % 50 != 7:
            foreground[20:60, t % 40 : t % 40 + 30] = 0.9
        return foreground

    def frame(t: int) -> np.ndarray:
        return np.repeat((mask(t) * 250).astype(np.uint8)[..., None], 3, axis=2)

    base = cp.TimeBase.of("avsbench", num_frames)
    frames = FrameStack(frame, num_frames=num_frames, frame_shape=(SIDE, SIDE, 3), dtype=np.uint8)
    scores = FrameStack(mask, num_frames=num_frames, frame_shape=(SIDE, SIDE), dtype=np.float32)
    clip = cp.Clip("steady", frames, cp.Sound.silence(num_frames, rate_hz=100), base)
    return clip, cp.Prediction.from_foreground(scores, kind="probability")


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.heavy
@pytest.mark.parametrize("fusion", ["replace", "consensus"])
def test_one_steady_hour_is_refined_in_bounded_memory(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coprop_plugin.coprop.FrameSpool.__init__.__kwdefaults__", {"limit_bytes": 4 << 20})
    method = cp.CoProp(control_points="none", propagator="hold", fusion=fusion, max_segment_frames=64)

    def refine(num_frames: int) -> None:
        clip, base = steady_clip(num_frames)
        result = method(clip, base)
        assert len(result.segments) == -(-num_frames // 64)
        assert result.prediction.label_map(num_frames - 1).any()

    minute, hour = peak_bytes(lambda: refine(240)), peak_bytes(lambda: refine(3600))
    whole = 3600 * 2 * SIDE * SIDE * 4
    assert hour < minute + 0.1 * whole
