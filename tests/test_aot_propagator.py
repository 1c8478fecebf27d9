"""AOT as a part: tasks in, masks out, whatever the batch, the direction or the way in."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import aot_scenes as scenes
import numpy as np
import pytest
import torch
from rule_weights import rule_state

from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.parts import build
from coprop_plugin.propagators.aot import frames as frames_module, runtime
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip, FrameStack, Sound, TimeBase

NUM_FRAMES = 8
TASKS = [
    scenes.task(0, 4, 0, num_objects=2, seed=1),
    scenes.task(4, 8, 7, num_objects=1, seed=2),
    scenes.task(0, 8, 5, num_objects=3, seed=3),
    scenes.task(6, 7, 6, num_objects=2, seed=4),
    scenes.task(2, 6, 3, num_objects=12, seed=5),
]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return scenes.clip(NUM_FRAMES)


@pytest.fixture(scope="module")
def whole(clip: Clip) -> list[np.ndarray]:
    return list(scenes.propagator(batch=16).propagate(clip, TASKS))


def assert_same_masks(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=scenes.FED)


def test_answers_are_probabilities_with_the_mask_at_the_anchor(whole: list[np.ndarray]) -> None:
    for task, masks in zip(TASKS, whole, strict=True):
        assert masks.shape == (len(task), *task.mask.shape) and masks.dtype == np.float32
        np.testing.assert_allclose(masks.sum(axis=1), 1, atol=1e-5)
        assert (masks[task.anchor - task.start] == task.mask).all()
        for t in range(len(task)):
            assert t == task.anchor - task.start or not np.allclose(masks[t], task.mask, atol=1e-3)


def test_batched_equals_single(clip: Clip, whole: list[np.ndarray]) -> None:
    for ours, theirs in zip(scenes.propagator(batch=1).propagate(clip, TASKS), whole, strict=True):
        assert_same_masks(ours, theirs)


def test_chunked_equals_whole(clip: Clip, whole: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame encoded at a time, where else several steps are encoded ahead."""
    monkeypatch.setitem(frames_module.ENCODE_PX, "cpu", 1)
    for ours, theirs in zip(scenes.propagator(batch=3).propagate(clip, TASKS), whole, strict=True):
        assert_same_masks(ours, theirs)


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_streamed_equals_whole(clip: Clip, whole: list[np.ndarray], number: int) -> None:
    """Forwards and backwards from the anchor."""
    task, masks, propagator = TASKS[number], whole[number], scenes.propagator()
    for way in (range(task.anchor + 1, task.stop), range(task.anchor - 1, task.start - 1, -1)):
        stream = propagator.stream(clip.frames[task.anchor], task.mask)
        for t in way:
            assert_same_masks(stream.step(clip.frames[t]), masks[t - task.start])


def test_backward_is_forward_on_the_turned_clip(clip: Clip) -> None:
    propagator = scenes.propagator()
    turned = replace(clip, frames=clip.frames[::-1])
    (backward,) = propagator.propagate(clip, [scenes.task(0, 8, 7)])
    (forward,) = propagator.propagate(turned, [scenes.task(0, 8, 0)])
    assert_same_masks(backward[::-1], forward)


def test_several_clips_advance_together(clip: Clip) -> None:
    """Of different sizes too; each answer is the one that its clip gets alone."""
    other, wide = scenes.clip(4, seed=9), scenes.clip(4, (49, 97), seed=3)
    wide_task = PropagationTask(0, 4, 1, scenes.mask(2, (49, 97)))
    pairs = [(clip, TASKS[0]), (wide, wide_task), (other, TASKS[0]), (clip, TASKS[2])]
    propagator = scenes.propagator()
    for (own, task), masks in zip(pairs, propagator.propagate_many(iter(pairs)), strict=True):
        assert_same_masks(masks, next(propagator.propagate(own, [task])))


def test_tasks_are_taken_as_they_are_needed(clip: Clip) -> None:
    taken = []
    answers = scenes.propagator(batch=2).propagate(clip, (taken.append(i) or TASKS[0] for i in range(6)))
    next(answers)
    assert taken == [0, 1]


def test_masks_come_back_at_their_own_size(clip: Clip) -> None:
    small = PropagationTask(0, 3, 1, scenes.mask(2, (33, 41)))
    (masks,) = scenes.propagator().propagate(clip, [small])
    assert masks.shape == (3, 3, 33, 41)
    stream = scenes.propagator().stream(clip.frames[1], small.mask)
    assert_same_masks(stream.step(clip.frames[2]), masks[2])


def test_objects_that_are_not_there_stay_away(clip: Clip) -> None:
    """Channels in use are squeezed to 1..K: a class far up changes nothing, and absent ones get nothing."""
    mask = scenes.mask(2)
    spread = np.zeros((26, *mask.shape[1:]), np.float32)
    spread[[0, 7, 25]] = mask
    near, far = (PropagationTask(0, 3, 0, m) for m in (mask, spread))
    a, b = scenes.propagator().propagate(clip, [near, far])
    assert_same_masks(b[:, [0, 7, 25]], a)
    assert not np.delete(b[1:], [0, 7, 25], axis=1).any()


def test_a_mask_without_background_keeps_its_objects(clip: Clip) -> None:
    mask = np.zeros((3, *scenes.SIZE), np.float32)
    mask[1, :, :40], mask[2, :, 40:] = 1, 1
    (masks,) = scenes.propagator().propagate(clip, [PropagationTask(0, 3, 0, mask)])
    assert masks[1:].std(axis=(2, 3)).min() > 0


def test_an_empty_mask_is_no_work(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    propagator = scenes.propagator()
    monkeypatch.setattr(propagator._encoder, "encode", lambda *_: pytest.fail("a frame was encoded"))
    empty = np.zeros((3, *scenes.SIZE), np.float32)
    empty[0] = 1
    (masks,) = propagator.propagate(clip, [PropagationTask(0, 5, 2, empty)])
    assert (masks == empty).all()
    stream = propagator.stream(clip.frames[0], empty)
    assert (stream.step(clip.frames[1]) == empty).all() and stream.memory_bytes == 0


def test_a_stream_remembers_no_more_after_an_hour(clip: Clip) -> None:
    stream = scenes.propagator("aotl", max_memory_frames=3).stream(clip.frames[0], scenes.mask(2))
    sizes = []
    for t in range(30):
        stream.step(clip.frames[t % NUM_FRAMES])
        sizes.append(stream.memory_bytes)
    assert sizes[-1] == max(sizes) == sizes[10] and sizes[0] < sizes[-1]


def test_bfloat16_keeps_nearly_all_labels(clip: Clip, whole: list[np.ndarray]) -> None:
    (masks,) = scenes.propagator(precision="bfloat16").propagate(clip, TASKS[:1])
    assert masks.dtype == np.float32
    assert np.abs(masks - whole[0]).max() < 0.05


def test_built_by_name_from_a_file(clip: Clip, whole: list[np.ndarray], tmp_path: Path) -> None:
    """From the container that the authors publish, with optimizer state and a prefix."""
    path = tmp_path / "AOTT.pth"
    state = {f"module.{name}": value for name, value in scenes.weights("aott").items()}
    state["module.LSTT.mask_token"] = torch.zeros(1, 1, 256)
    torch.save({"state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, path)
    propagator = build("propagator", f"aott:checkpoint={path},device=cpu")
    assert propagator.name == "aott"
    assert_same_masks(next(propagator.propagate(clip, TASKS[:1])), whole[0])


@pytest.mark.heavy
def test_compiled_equals_eager(clip: Clip, whole: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured as whole graphs of any shape; the code generator itself, minutes of work, is left out."""
    monkeypatch.setattr(runtime, "COMPILER", "aot_eager")
    (masks,) = scenes.propagator(compile=True).propagate(clip, TASKS[:1])
    assert_same_masks(masks, whole[0])


class TestBadInput:
    def test_no_checkpoint(self) -> None:
        with pytest.raises(CheckpointError, match="r50_aotl needs its weights, and none are shipped"):
            AOT("r50_aotl")

    def test_no_such_model(self) -> None:
        with pytest.raises(CoPropError, match=r"unknown AOT model 'r50_aot'. Did you mean 'r50_aotl'"):
            AOT("r50_aot", checkpoint={})

    @pytest.mark.parametrize(("other", "name"), [("aotl", "aotb or aotl"), ("r50_deaotl", "r50_deaotl")])
    def test_another_member_of_the_family(self, other: str, name: str) -> None:
        with pytest.raises(CheckpointError, match=f"look like the weights of {name}"):
            scenes.propagator("aott", checkpoint=scenes.weights(other))

    def test_another_model_altogether(self) -> None:
        with pytest.raises(CheckpointError, match=r"323 missing|32\d missing.*look like the weights of vggish"):
            scenes.propagator("aott", checkpoint=rule_state(VGGish))

    def test_names_that_are_missing_unknown_or_mis_shaped(self) -> None:
        state = dict(scenes.weights("aott"))
        del state["decoder.conv_out.bias"]
        state["extra.weight"] = torch.zeros(1)
        state["encoder_projector.bias"] = torch.zeros(3)
        with pytest.raises(
            CheckpointError,
            match=r"1 missing \(decoder.conv_out.bias\); 1 unknown \(extra.weight\); "
            r"1 of another shape \(encoder_projector.bias is \(3,\), expected \(256,\)\)",
        ):
            scenes.propagator("aott", checkpoint=state)

    def test_frames_that_change_their_size(self, clip: Clip) -> None:
        class Changing:
            shape = clip.frames.shape

            def __len__(self) -> int:
                return NUM_FRAMES

            def __getitem__(self, t: int) -> np.ndarray:
                return clip.frames[t] if t < 2 else clip.frames[t][:-8]

        changing = replace(clip, frames=Changing())
        with pytest.raises(CoPropError, match=r"'clip': frame 2 is uint8 \(57, 81, 3\), expected uint8 \(65, 81, 3\)"):
            list(scenes.propagator().propagate(changing, TASKS[:1]))
        stream = scenes.propagator().stream(clip.frames[0], scenes.mask(2))
        with pytest.raises(CoPropError, match="begin a new stream"):
            stream.step(clip.frames[1][:-8])

    def test_a_task_outside_the_clip(self, clip: Clip) -> None:
        with pytest.raises(CoPropError, match=r"has 8 frames; a task asks for \[0, 9\)"):
            list(scenes.propagator().propagate(clip, [scenes.task(0, 9, 0)]))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "tpu"}, "unknown device 'tpu'"),
            ({"precision": "float8"}, "unknown precision 'float8'"),
            ({"batch": 0}, "batch >= 1"),
            ({"max_memory_frames": 0}, "at least 1"),
            ({"audio": "vggish"}, "holds no audio insert and would not hear it"),
        ],
    )
    def test_options(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(CoPropError, match=message):
            AOT("aott", checkpoint=scenes.weights("aott"), **options)  # type: ignore[arg-type]


def test_broken_weights_are_refused() -> None:
    state = dict(scenes.weights("aott"))
    state["LSTT.layers.0.norm1.weight"] = state["LSTT.layers.0.norm1.weight"] * float("nan")
    with pytest.raises(CheckpointError, match=r"LSTT\.layers\.0\.norm1\.weight holds NaN"):
        scenes.propagator("aott", checkpoint=state)


def test_while_a_batch_is_at_work_nothing_of_the_one_before_is_held() -> None:
    shown = scenes.frames(6)
    answers: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []

    def read(t: int) -> np.ndarray:
        held.append(sum(answer() is not None for answer in answers))
        return shown[t]

    stack = FrameStack(read, num_frames=6, frame_shape=shown.shape[1:], dtype=np.uint8)
    clip = Clip("read", stack, Sound.silence(6), TimeBase.of("avsbench", 6))
    propagator = scenes.propagator(batch=2)
    tasks = [scenes.task(t, t + 2, t) for t in range(5)]
    given = propagator.propagate(clip, tasks)
    while (masks := next(given, None)) is not None:
        answers.append(weakref.ref(masks))
        del masks
    assert len(answers) == 5 and held and max(held) == 0
