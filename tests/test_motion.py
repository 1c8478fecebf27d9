"""Which pixels move: SSP's Eq. (1) by hand, the three rules, and every source of flow."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import PerceiverConfig, PerceiverForOpticalFlow

from coprop_plugin.errors import CoPropError
from coprop_plugin.propagators.flow_sources import Dis, FromFunction, open_flow
from coprop_plugin.propagators.motion import MotionMasks, MotionRule, averaged
from coprop_plugin.propagators.perceiver import Perceiver, neighbourhoods, starts, tile_weights
from coprop_plugin.structures import Clip, Sound, TimeBase


def clip_of(frames: np.ndarray, *, between=None, name: str = "moving") -> Clip:
    time_base = TimeBase.of("avsbench", len(frames))
    return Clip(name, frames, Sound.silence(len(frames)), time_base, between=between)


def square_at(*lefts: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """A textured square of 20 px at these places, over a still texture."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (*size, 3)).astype(np.uint8), (0, 0), 2)
    patch = cv2.GaussianBlur(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8), (0, 0), 1)
    frames = np.stack([ground] * len(lefts))
    for frame, left in zip(frames, lefts, strict=True):
        frame[20:40, left : left + 20] = patch
    return frames


class Given:
    """Speeds that are told."""

    about = "given speeds"

    def __init__(self, *speeds: np.ndarray) -> None:
        self.given = speeds

    def speeds(self, clip: Clip):
        return iter(self.given)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_equation_1_by_hand(count: int) -> None:
    speeds = np.random.default_rng(count).random((count, 2, 3)).astype(np.float32)
    wanted = [speeds[0], *((speeds[t] + speeds[t + 1]) / 2 for t in range(count - 1)), speeds[-1]]
    np.testing.assert_array_equal(list(averaged(iter(speeds))), wanted)


def test_the_threshold_is_one_of_the_video() -> None:
    motion = [np.array([[0.0, 1.0], [3.0, 10.0]], np.float32), np.array([[0.0, 0.0], [1.2, 0.0]], np.float32)]
    assert MotionRule("max").threshold_px(motion) == pytest.approx(1.0)
    assert MotionRule("max", rel_floor=0.01).threshold_px(motion) == 0.5  # the floor
    assert MotionRule("mean").threshold_px(motion) == pytest.approx(15.2 / 8)
    assert 3 < MotionRule("otsu").threshold_px(motion) < 10
    still = [np.zeros((2, 2), np.float32)]
    assert {MotionRule(rule).threshold_px(still) for rule in ("max", "otsu", "mean")} == {0.5}


def test_masks_are_averages_above_the_threshold_and_are_kept() -> None:
    first, second = np.zeros((4, 12), np.float32), np.zeros((4, 12), np.float32)
    first[0], second[1] = 10, 4
    masks = MotionMasks(Given(first, second))
    clip = clip_of(np.zeros((3, 4, 12, 3), np.uint8))
    rows = [masks.mask(clip, t)[:, 0].tolist() for t in range(3)]
    assert rows == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]]
    masks.source = None  # type: ignore[assignment]
    np.testing.assert_array_equal(masks.mask(clip, 1, (8, 24)), masks.mask(clip, 1).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("alone", "value"), [("still", 0), ("moving", 1)])
def test_a_single_frame_has_no_flow(alone, value: int) -> None:
    clip = clip_of(np.zeros((1, 8, 10, 3), np.uint8))
    mask = MotionMasks(Dis(), MotionRule(alone=alone)).mask(clip, 0)
    assert mask.shape == (8, 10) and (mask == value).all()


@pytest.mark.parametrize("rule", ["max", "otsu", "mean"])
def test_dis_finds_what_moves(rule) -> None:
    clip = clip_of(square_at(20, 24, 28, 32))
    mask = MotionMasks(Dis(), MotionRule(rule)).mask(clip, 1)
    assert mask[24:36, 28:40].mean() > 0.9 and mask[50:].mean() < 0.05 and mask[:10].mean() < 0.05


def test_frames_in_between_are_used() -> None:
    """What swings and is back at every whole second has moved; the frames alone do not show it."""
    clip = clip_of(square_at(20, 20), between=lambda a, b: iter(square_at(24, 28, 24)))
    assert MotionMasks(Dis(max_gap_s=0)).mask(clip, 0).mean() == 0
    assert MotionMasks(Dis()).mask(clip, 0)[24:36, 24:40].mean() > 0.8


def test_lengths_are_pixels_of_the_frame() -> None:
    frames = np.stack([cv2.resize(frame, (384, 256)) for frame in square_at(20, 23)])
    (speed,) = Dis(max_side_px=192).speeds(clip_of(frames))
    assert np.median(cv2.resize(speed, (96, 64))[24:36, 25:38]) == pytest.approx(12, abs=1.5)


@pytest.fixture(scope="module")
def perceiver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("perceiver")
    sizes = {"num_latents": 16, "d_latents": 32, "d_model": 322, "num_blocks": 1, "num_self_attends_per_block": 1}
    heads = {"num_self_attention_heads": 2, "num_cross_attention_heads": 1}
    torch.manual_seed(0)
    PerceiverForOpticalFlow(PerceiverConfig(**sizes, **heads, train_size=[24, 32])).save_pretrained(folder)
    return folder


def test_perceiver_is_tiled_as_published(perceiver: Path) -> None:
    source = Perceiver(perceiver, device="cpu")
    frames = np.random.default_rng(0).integers(0, 255, (2, 30, 44, 3)).astype(np.uint8)
    flow = source.flow(frames[0], frames[1])
    assert starts(30, 24) == [0, 4, 6] and starts(24, 24) == [0]
    seen = np.pad(frames.astype(np.float32) / 127.5 - 1, ((0, 0), (1, 1), (1, 1), (0, 0)))
    by_hand = neighbourhoods(frames)[1, :, 5, 7].numpy()
    np.testing.assert_allclose(by_hand, seen[1, 5:8, 7:10].reshape(27), atol=1e-6)
    weights = tile_weights((24, 32)).numpy()
    assert weights[0, 0] == 1 and weights[11, 15] == 12 and weights[23, 31] == 1
    # the corner belongs to one tile alone
    with torch.inference_mode():
        alone = source._model(inputs=neighbourhoods(frames)[None, :, :, :24, :32]).logits[0] * 20
    np.testing.assert_allclose(flow[:4, :4], alone[:4, :4], rtol=1e-4, atol=1e-4)
    # small frames are enlarged to a tile, and lengths are told in their own pixels
    (speed,) = source.speeds(clip_of(frames[:, :12, :16]))
    enlarged = [cv2.resize(np.ascontiguousarray(f[:12, :16]), (32, 24), interpolation=cv2.INTER_LINEAR) for f in frames]
    np.testing.assert_allclose(speed, np.linalg.norm(source.flow(*enlarged), axis=-1) / 2, rtol=1e-4, atol=1e-5)


def test_every_source_by_what_it_is_called(perceiver: Path, tmp_path: Path) -> None:
    clip = clip_of(square_at(20, 24, 28), name="v1")
    flows = np.zeros((2, 64, 96, 2), np.float32)
    flows[:, 20:40, 20:40] = 3, 4
    np.save(tmp_path / "v1.npy", flows)
    np.save(tmp_path / "lengths.npy", np.linalg.norm(flows, axis=-1))
    (tmp_path / "files").mkdir()
    np.save(tmp_path / "files" / "v1.npy", flows)
    for given in (tmp_path / "v1.npy", tmp_path / "files", tmp_path / "lengths.npy", lambda a, b: flows[0]):
        np.testing.assert_allclose(list(open_flow(given).speeds(clip))[1][20:40, 20:40], 5)
    assert "DIS" in open_flow("dis").about and "steps of" not in open_flow({"max_gap_s": 0.0}).about
    assert "Perceiver IO" in open_flow(perceiver, device="cpu").about
    assert "on tiles of 24x32" in open_flow({"perceiver": str(perceiver)}, device="cpu").about
    assert "median motion removed" in open_flow("dis-steady").about
    assert open_flow(source := Dis()) is source


def test_wrong_flows_are_named(tmp_path: Path) -> None:
    clip = clip_of(square_at(20, 24), name="v1")
    np.save(tmp_path / "v1.npy", np.zeros((3, 4, 4, 2), np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "no").mkdir()
    for source, message in (
        (lambda: open_flow(tmp_path / "v1.npy"), r"here T - 1 = 1; got \(3, 4, 4, 2\)"),
        (lambda: open_flow(tmp_path / "objects.npy"), "Python objects"),
        (lambda: open_flow(tmp_path), r"\(T - 1, h, w, 2\)"),
        (lambda: open_flow(tmp_path / "no"), "nothing usable"),
        (lambda: open_flow("raft"), "Allowed: dis"),
        (lambda: open_flow({"colour": 1}), "has no option 'colour'"),
        (lambda: FromFunction(lambda a, b: a), "a flow is"),
        (lambda: FromFunction(lambda a, b: np.full((4, 4, 2), np.nan)), "finite"),
        (lambda: Given(), r"1 steps; given speeds gave 0"),
    ):
        with pytest.raises(CoPropError, match=message):
            MotionMasks(source()).mask(clip, 0)
    with pytest.raises(CoPropError, match="rule of a flow mask 'median'"):
        MotionRule("median")  # type: ignore[arg-type]


def test_a_panning_camera_moves_everything_unless_it_is_removed() -> None:
    frames = np.stack([np.roll(frame, 3 * t, axis=1) for t, frame in enumerate(square_at(40, 37, 34))])
    clip = clip_of(frames)
    square, ground = np.s_[24:36, 44:56], np.s_[46:, 16:80]
    kept, removed = (MotionMasks(Dis(camera=camera)).mask(clip, 1) for camera in ("kept", "removed"))  # type: ignore[arg-type]
    assert kept[square].mean() < 0.1 and kept[ground].mean() > 0.9  # the camera follows the square
    assert removed[square].mean() > 0.7 and removed[ground].mean() < 0.1
