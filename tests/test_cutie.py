"""Cutie with random weights: the package's own way, both directions, a memory of a few frames; nothing is downloaded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from unittest.mock import patch

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.errors import CheckpointError, MissingExtra
from coprop_plugin.propagators import cutie
from coprop_plugin.propagators.base import PropagationTask

pytestmark = [
    pytest.mark.needs("cutie"),
    pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast:FutureWarning"),
]
HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def state() -> Mapping[str, torch.Tensor]:
    """The small form's names and shapes, with numbers that nobody trained."""
    from cutie.model.cutie import CUTIE
    from cutie.model.utils import resnet

    torch.manual_seed(0)
    without = {name: cutie._untrained(getattr(resnet, name)) for name in ("resnet18", "resnet50")}
    with patch.multiple(resnet, **without):
        return CUTIE(cutie._settings("small")).state_dict()


@pytest.fixture(scope="module")
def tracker(state: Mapping[str, torch.Tensor]) -> cutie.Cutie:
    return cutie.Cutie(checkpoint=state, device="cpu")


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def clip_of(frames: np.ndarray) -> cp.Clip:
    return cp.Clip("made", frames, cp.Sound.silence(len(frames)), cp.TimeBase.of("uniform:1", len(frames)))


def two() -> np.ndarray:
    """Objects 1 and 3; 2 is never there."""
    mask = np.zeros((4, HEIGHT, WIDTH), np.float32)
    mask[1, 10:30, 10:40] = 1
    mask[3, 5:60, 50:70] = 1
    mask[0] = 1 - mask[1:].sum(axis=0)
    return mask


@torch.inference_mode()
def published(tracker: cutie.Cutie, frames: np.ndarray, mask: np.ndarray) -> list[torch.Tensor]:
    """As the package's readme has it: the first frame with its mask, the others without."""
    from cutie.inference.inference_core import InferenceCore

    core = InferenceCore(tracker.network, cfg=tracker.network.cfg)
    core.memory.top_k = 24  # a frame has no more cells
    pictures = torch.tensor(frames).permute(0, 3, 1, 2).float() / 255
    core.step(pictures[0], torch.from_numpy(mask.argmax(axis=0)), objects=[1, 3])
    return [core.step(picture) for picture in pictures[1:]]


def test_onward_is_the_packages_own_way(tracker: cutie.Cutie) -> None:
    frames = noise(8)
    (masks,) = tracker.propagate(clip_of(frames), [PropagationTask(0, 8, 0, two())])
    assert masks.shape == (8, 4, HEIGHT, WIDTH) and masks.dtype == np.float32
    np.testing.assert_array_equal(masks[0], two())
    for t, wanted in enumerate(published(tracker, frames, two()), start=1):
        np.testing.assert_allclose(masks[t, [0, 1, 3]], wanted.numpy(), atol=1e-6)
    assert masks[:, 2].max() == 0 and np.ptp(masks[1:, 1]) > 0.01
    np.testing.assert_allclose(masks.sum(axis=1), 1, atol=1e-5)


def test_both_directions_are_one_and_tasks_together_are_alone(tracker: cutie.Cutie) -> None:
    frames = noise(5)
    tasks = [PropagationTask(0, 5, 2, two()), PropagationTask(0, 2, 1, two()[:2, ::2, ::2])]
    onward, small = tracker.propagate(clip_of(frames), tasks)
    (back,) = tracker.propagate(clip_of(frames[::-1]), tasks[:1])
    np.testing.assert_array_equal(onward, back[::-1])
    np.testing.assert_array_equal(small, next(tracker.propagate(clip_of(frames), tasks[1:])))
    assert small.shape == (2, 2, HEIGHT // 2, WIDTH // 2)


def test_the_memory_holds_a_few_frames(state: Mapping[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    from cutie.inference.inference_core import InferenceCore

    held: list[int] = []
    step = InferenceCore.step

    def told(self: InferenceCore, *given: object, **options: object) -> torch.Tensor:
        found = step(self, *given, **options)
        held.append(self.memory.work_mem.size(0))
        return found

    monkeypatch.setattr(InferenceCore, "step", told)
    eager = cutie.Cutie(checkpoint=state, memory_every=1, device="cpu")
    list(eager.propagate(clip_of(noise(12)), [PropagationTask(0, 12, 0, two())]))
    assert held[0] < held[4] == held[-1] == max(held)


def test_an_empty_mask_stays_empty(tracker: cutie.Cutie) -> None:
    empty = np.stack([np.ones((4, 4)), np.zeros((4, 4))]).astype(np.float32)
    (masks,) = tracker.propagate(clip_of(noise(3)), [PropagationTask(0, 3, 1, empty)])
    assert not masks[:, 1].any()


def test_what_is_missing_is_named(state: Mapping[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="none are shipped: give checkpoint=FILE"):
        cutie.Cutie()
    with pytest.raises(CheckpointError, match="does not fit"):
        cutie.Cutie(checkpoint={"weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="encoder with 99 channels"):
        cutie.Cutie(checkpoint={"pix_feat_proj.weight": torch.zeros(256, 99, 1, 1)})
    with pytest.raises(CoPropError, match="memory_every from 1"):
        cutie.Cutie(checkpoint=state, memory_every=0)
    monkeypatch.setitem(sys.modules, "cutie.model.cutie", None)
    with pytest.raises(MissingExtra, match=r"rf-cutie.*coprop-plugin\[cutie\]"):
        cutie.Cutie(checkpoint=state)
