"""Frames are encoded once, and what is kept changes no mask and grows no further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import aot_scenes as scenes
import numpy as np
import pytest
import torch

from coprop_plugin.propagators.aot import frames as frames_module
from coprop_plugin.propagators.aot.encoders import Maps
from coprop_plugin.propagators.aot.network import AOTNetwork
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.aot.seen import FrameOf, SeenFrames
from coprop_plugin.structures import Clip

FRAME_BYTES = 4 * 4 * 2  # four maps of 2 float32


class Encoder:
    """Maps that hold the clip's first pixel and the frame's index; it writes down what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, wanted: Sequence[FrameOf]) -> Maps:
        self.asked.append([index for _, index in wanted])
        rows = torch.tensor([[float(clip.frames[0, 0, 0, 0]), float(index)] for clip, index in wanted])
        x = rows[:, :, None, None]
        return x, x + 1, x + 2, x + 3


def assert_are(maps: Maps, clip: Clip, indices: Sequence[int]) -> None:
    for level, x in enumerate(maps):
        expected = torch.tensor([[float(clip.frames[0, 0, 0, 0]), float(index)] for index in indices]) + level
        assert torch.equal(x[:, :, 0, 0], expected)


def test_a_frame_is_encoded_once() -> None:
    clip, encode = scenes.clip(6), Encoder()
    seen = SeenFrames(encode, max_bytes=1 << 20)
    for indices in ([0, 1, 0], [1, 2], [2, 0, 1], [5]):
        assert_are(seen.maps([(clip, index) for index in indices]), clip, indices)
    assert encode.asked == [[0, 1], [2], [5]]
    assert seen.num_bytes == 4 * FRAME_BYTES


def test_clips_are_told_apart_even_when_one_takes_the_place_of_another() -> None:
    encode, ids = Encoder(), set()
    seen = SeenFrames(encode, max_bytes=1 << 20)
    for number in range(50):
        clip = replace(scenes.clip(2), frames=np.full((2, 8, 8, 3), number, np.uint8))
        ids.add(id(clip))
        assert_are(seen.maps([(clip, 1)]), clip, [1])
        del clip
    assert len(encode.asked) == 50 > len(ids)  # some came again


def test_frames_longest_unused_are_given_up_first() -> None:
    clip, encode = scenes.clip(8), Encoder()
    seen = SeenFrames(encode, max_bytes=3 * FRAME_BYTES)
    for index in (0, 1, 2, 0, 3, 0, 1):  # 3 drives out 1, and 1 then 2
        assert_are(seen.maps([(clip, index)]), clip, [index])
        assert seen.num_bytes <= 3 * FRAME_BYTES
    assert encode.asked == [[0], [1], [2], [3], [1]]
    assert_are(seen.maps([(clip, t) for t in range(8)]), clip, range(8))  # more than is kept
    assert encode.asked[-1] == [2, 4, 5, 6, 7] and seen.num_bytes <= 3 * FRAME_BYTES


def test_what_is_kept_of_a_clip_does_not_depend_on_the_clips_before() -> None:
    def asked_after(before: int) -> list[list[int]]:
        encode = Encoder()
        seen = SeenFrames(encode, max_bytes=3 * FRAME_BYTES)
        for _ in range(before):
            other = scenes.clip(5)
            for t in range(5):
                seen.maps([(other, t)])
        encode.asked.clear()
        clip = scenes.clip(6)
        for indices in ([0], [0, 1], [2], [1, 3], [0, 3], [4, 5], [4]):
            seen.maps([(clip, index) for index in indices])
        return encode.asked

    assert asked_after(0) == asked_after(1) == asked_after(4)


@pytest.mark.parametrize("model", ["aott", "r50_aotl"])
def test_a_propagator_encodes_each_frame_of_a_clip_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that cross, forwards and backwards, in one call and in the next; the masks are those of fresh propagators."""
    encoded: list[int] = []
    look = AOTNetwork.look
    monkeypatch.setattr(AOTNetwork, "look", lambda self, image: encoded.append(len(image)) or look(self, image))
    clip = scenes.clip(6)
    calls = [
        [scenes.task(0, 5, 2, num_objects=2, seed=1), scenes.task(1, 4, 1, num_objects=1, seed=2)],
        [scenes.task(2, 6, 4, num_objects=2, seed=3)],
    ]
    propagator = scenes.propagator(model)
    kept = [masks for tasks in calls for masks in propagator.propagate(clip, tasks)]
    assert sum(encoded) == 6
    fresh = [masks for tasks in calls for task in tasks for masks in scenes.propagator(model).propagate(clip, [task])]
    for ours, theirs in zip(kept, fresh, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=scenes.FED)


def test_memory_of_kept_frames_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(frames_module.KEPT_BYTES, "cpu", 1 << 20)
    monkeypatch.setitem(frames_module.ENCODE_PX, "cpu", 1 << 14)
    propagator: AOT = scenes.propagator()
    list(propagator.propagate(scenes.clip(40), [scenes.task(0, 40, 0)]))
    assert 0 < propagator._encoder._seen.num_bytes <= 1 << 20
