"""The keyframe processor: its network by itself, as an adapter, and trained in two stages; resumed = uninterrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_toys import Killed, contents, stop_after

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.keyframes import KeyframeList
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.errors import CheckpointError
from coprop_plugin.keyframe import backbones
from coprop_plugin.keyframe.adapter import KpfAdapter
from coprop_plugin.keyframe.ears import EARS, at_windows, open_ear
from coprop_plugin.keyframe.network import Kpf, KpfForm
from coprop_plugin.layers.efficientnet_lite import EfficientNetLite0
from coprop_plugin.layers.resnet import ResNet50
from coprop_plugin.structures import AVSBENCH_CLASSES
from coprop_plugin.training.keyframes import find_keyframes
from coprop_plugin.training.kpf import KpfTraining, starting_kpf
from coprop_plugin.training.loop import train
from coprop_plugin.training.losses import IGNORE, dice_loss, keyframe_losses
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.sequences import LabelledClip
from coprop_plugin.training.sources import SyntheticSource, open_source

SIZE = (32, 32)
TINY = KpfForm(
    "lite0", audio_dim=EARS["logmel"], width=32, hidden=48, queries=4, encoder_layers=1, decoder_layers=2, size=SIZE
)
SCHEDULE = Schedule(steps=4, batch=2, learning_rate=1e-3, warm_up=0, save_every=2)


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole EfficientNet-lite0 that nobody trained, as its file is published."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip() -> cp.Clip:
    return made_clips("synth:moc:0-0").make(0, size=(48, 80)).clip


def source(kind: str = "moc") -> SyntheticSource:
    return SyntheticSource(made_clips(f"synth:{kind}:0-3"), SIZE)


def training(lite0: Path, form: KpfForm = TINY, **options: object) -> KpfTraining:
    network, has_weights = starting_kpf(form, backbone_checkpoint=lite0)
    assert has_weights
    return KpfTraining(network, source(), open_ear("logmel"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["resnet50", "lite0", pytest.param("pvt_v2_b5", marks=pytest.mark.heavy)])
def test_weights_tell_the_form_and_frames_are_each_alone(backbone: str) -> None:
    form = KpfForm(
        backbone, audio_dim=128, channels=71, width=64, hidden=32, queries=3, size=(32, 64), decoder_layers=2
    )
    torch.manual_seed(1)
    network = Kpf(form).eval()
    assert KpfForm.of(network.state_dict()) == form
    pictures, sounds = torch.randn(2, 3, *form.size), torch.randn(2, 128)
    with torch.inference_mode():
        both = network(pictures, sounds)
        assert both.shape == (2, 2, 71, 8, 16)
        torch.testing.assert_close(both[:, 1:], network(pictures[1:], sounds[1:]), atol=2e-4, rtol=1e-3)
        other = network(pictures[:1], sounds[1:])
    assert (other - both[:, :1]).abs().max() > 1e-3, "the sound is heard"


@pytest.mark.parametrize(
    "options", [{"backbone": "vgg"}, {"width": 48}, {"queries": 0}, {"encoder_layers": 99}, {"size": (100, 64)}]
)
def test_forms_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(CoPropError):
        KpfForm(**options)  # type: ignore[arg-type]


class TestAdapter:
    @pytest.fixture(scope="class")
    def weights(self) -> dict[str, torch.Tensor]:
        torch.manual_seed(2)
        return Kpf(TINY).state_dict()

    def test_keyframes_alone_are_those_of_the_clip(self, clip: cp.Clip, weights: dict[str, torch.Tensor]) -> None:
        kpf = cp.build_adapter("kpf", checkpoint=weights, device="cpu")
        prediction, asked = kpf.predict(clip), kpf.predict_frames(clip, [3, 0])
        assert prediction.kind == "logit" and prediction.class_ids == (1,) and prediction.size == SIZE
        for t, scores in asked.items():
            np.testing.assert_allclose(prediction.frame(t), scores, atol=1e-4)
        filled = KpfAdapter(weights, device="cpu", batch_frames=4).predict(clip)
        np.testing.assert_allclose(filled.frame(3), prediction.frame(3), atol=1e-4)

    def test_in_the_method_it_is_asked_for_keyframes(self, clip: cp.Clip, weights: dict[str, torch.Tensor]) -> None:
        kpf = KpfAdapter(weights, device="cpu")
        points = cp.ControlPoints(np.arange(clip.num_frames) % 5 == 0)
        result = cp.CoProp.paper(control_points=points, propagator="hold")(clip, kpf, mode="frame")
        assert result.prediction.num_frames == clip.num_frames

    def test_semantic_masks_have_the_classes_of_avsbench(self, clip: cp.Clip) -> None:
        form = KpfForm("lite0", EARS["logmel"], channels=71, width=32, hidden=32, queries=2, size=SIZE)
        kpf = KpfAdapter(Kpf(form).state_dict(), device="cpu")
        assert kpf.class_ids == AVSBENCH_CLASSES and kpf.predict(clip).frame(0).shape == (71, *SIZE)

    def test_files_that_are_not_right(self, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
        save_file(weights, tmp_path / "kpf.safetensors")
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes((tmp_path / "kpf.safetensors").read_bytes()[:5000])
        hears = Kpf(KpfForm("lite0", 7, width=32, hidden=32, queries=2, size=SIZE)).state_dict()
        counts = Kpf(KpfForm("lite0", 80, channels=5, width=32, hidden=32, queries=2, size=SIZE)).state_dict()
        odd = {**weights, "input_px": torch.tensor([1 << 40, 32])}
        vggish = Kpf(KpfForm("lite0", 128, width=32, hidden=32, queries=2, size=SIZE)).state_dict()
        for checkpoint, words in (
            (None, "needs checkpoint=FILE"),
            (cut, "damaged"),
            (hears, "hear 7 numbers"),
            (counts, "weights of 5 channels"),
            (odd, "no keyframe processor that can be"),
            ({"weight": torch.zeros(3)}, "does not fit"),
            (vggish, "give audio_checkpoint=FILE"),
        ):
            with pytest.raises(CheckpointError, match=words):
                KpfAdapter(checkpoint)  # type: ignore[arg-type]


def test_backbones_read_the_files_that_are_published(lite0: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    ours = ResNet50()
    renamed = {
        name.replace("layer3_1.", "layer3.").replace("layer4_1.", "layer4."): v for name, v in ours.state_dict().items()
    }
    torch.save({**renamed, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, tmp_path / "resnet.pth")
    read = ResNet50()
    assert backbones.fill(read, "resnet50", tmp_path / "resnet.pth")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), read.state_dict().values(), strict=True))
    assert not backbones.fill(read, "resnet50", None)
    with pytest.raises(CheckpointError, match="does not fit"):
        backbones.fill(read, "resnet50", lite0)
    frames = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    from coprop_plugin.adapters.images import normalise
    from coprop_plugin.layers.efficientnet_lite import prepared

    whole = EfficientNetLite0().eval()
    whole.load_state_dict(torch.load(lite0))
    part = backbones.Lite0().eval()
    backbones.fill(part, "lite0", lite0)
    for a, b in zip(part(normalise(frames)), whole.maps(prepared(frames), backbones.LITE_BLOCKS), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_patches_are_those_of_each_window() -> None:
    base = cp.TimeBase.of("avsbench", 3)
    clip = cp.Clip("x", np.zeros((3, 4, 4, 3), np.uint8), cp.Sound.silence(3), base)
    patches = np.arange(13, dtype=np.float32)[:, None]
    assert at_windows(patches, clip).tolist() == [[1.5], [5.5], [9.5]]
    fine = cp.TimeBase.of("uniform:25", 50)
    short = cp.Clip("x", np.zeros((50, 4, 4, 3), np.uint8), cp.Sound.silence(2), fine)
    rows = at_windows(patches[:9], short)
    assert rows.shape == (50, 1) and (np.diff(rows[:, 0]) >= 0).all() and rows[0] == 0 and rows[-1] == 8


class TestLosses:
    def test_right_answers_cost_nothing_and_empty_ones_are_asked_for(self) -> None:
        labels = torch.zeros(2, 8, 8, dtype=torch.int64)
        labels[0, 2:5, 2:6] = 1
        right = torch.where(labels > 0, 20.0, -20.0)[:, None]
        assert all(loss < 1e-3 for loss in keyframe_losses(right, labels))
        for wrong in (-right, torch.full_like(right, 20.0)):
            assert all(loss > 0.5 for loss in keyframe_losses(wrong, labels))
        semantic = torch.nn.functional.one_hot(labels * 2, 3).permute(0, 3, 1, 2) * 30.0
        assert all(loss < 1e-3 for loss in keyframe_losses(semantic, labels * 2))

    def test_what_is_not_known_does_not_count(self) -> None:
        torch.manual_seed(4)
        labels = torch.randint(0, 2, (1, 6, 6))
        labels[:, :3] = IGNORE
        for channels in (1, 3):
            logits = torch.randn(1, channels, 6, 6)
            other = logits.clone()
            other[:, :, :3] += 5
            assert [float(a) for a in keyframe_losses(logits, labels)] == [
                float(b) for b in keyframe_losses(other, labels)
            ]

    def test_dice_is_the_formula(self) -> None:
        p, g = torch.rand(3, 2, 5, 5), (torch.rand(3, 2, 5, 5) > 0.5).float()
        plain = [
            np.mean(
                [
                    1 - (2 * float((p[b, c] * g[b, c]).sum()) + 1) / float(p[b, c].sum() + g[b, c].sum() + 1)
                    for c in (0, 1)
                ]
            )
            for b in range(3)
        ]
        np.testing.assert_allclose(dice_loss(p, g).numpy(), plain, rtol=1e-5)


class TestTraining:
    def test_killed_and_resumed_is_uninterrupted(self, lite0: Path, tmp_path: Path) -> None:
        assert train(training(lite0), tmp_path / "whole", schedule=SCHEDULE).finished
        for stop in (1, 3):
            with pytest.raises(Killed):
                train(training(lite0), tmp_path / "run", schedule=SCHEDULE, on_step=stop_after(stop))
        assert train(training(lite0), tmp_path / "run", schedule=SCHEDULE).finished
        assert contents(tmp_path / "run") == contents(tmp_path / "whole")

    def test_it_learns(self, lite0: Path) -> None:
        """Four frames by heart."""
        learner = training(lite0, frozen_norms=False, frames=2)
        batch = learner.batch([0, 1], np.random.default_rng(0))
        optimizer = torch.optim.Adam(learner.groups()[0]["params"], lr=2e-3)
        told = []
        for _ in range(25):
            loss = learner.losses(batch, progress=0)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            told.append(loss.item())
        assert told[-1] < 0.6 * told[0]

    def test_only_keyframes_are_drawn(self, lite0: Path) -> None:
        found = find_keyframes(source(), None).keyframes
        part = training(lite0, keyframes=found, frames=3)
        seen = str(part.batch(range(4), np.random.default_rng(0))).split(", ")
        assert len(seen) == 12
        for clip_id, _, t in (name.split(" ") for name in seen):
            assert int(t) in found.frames[clip_id]
        whole = str(training(lite0, frames=10).batch([0], np.random.default_rng(0))).split(", ")
        assert len(whole) == 10
        with pytest.raises(CoPropError, match="make a list of the data that are trained on"):
            training(lite0, keyframes=KeyframeList({"kind": "s4"}, "x", {"a": (0,)}))

    def test_a_data_set_on_disk(self, lite0: Path, tmp_path: Path) -> None:
        """Training videos of S4 have one mask: of five frames the first alone is drawn."""
        write_dataset(tmp_path / "set", kind="s4", videos=3, splits=("train",), size=(40, 48))
        network, _ = starting_kpf(TINY, backbone_checkpoint=lite0)
        on_disk = KpfTraining(network, open_source(str(tmp_path / "set"), size=SIZE), open_ear("logmel"), frames=5)
        batch = on_disk.batch(range(3), np.random.default_rng(0))
        assert len(batch.names) == 3 and all(name.endswith(" frame 0") for name in batch.names)
        assert batch.labels.shape == (3, *SIZE) and set(batch.labels.unique().tolist()) == {0, 1}

    def test_a_frozen_backbone_stays(self, lite0: Path, tmp_path: Path) -> None:
        train(training(lite0, freeze_backbone=True), tmp_path / "run", schedule=SCHEDULE)
        weights, given = load_file(tmp_path / "run/weights.safetensors"), torch.load(lite0)
        assert all(torch.equal(weights[f"backbone.{n}"], v) for n, v in given.items() if f"backbone.{n}" in weights)
        train(training(lite0), tmp_path / "free", schedule=SCHEDULE)
        free = load_file(tmp_path / "free/weights.safetensors")
        moved = [n for n in free if not torch.equal(free[n], weights[n])]
        assert any("backbone._blocks" in n for n in moved) and not any("running_mean" in n for n in moved)

    def test_classes_must_be_known(self, lite0: Path) -> None:
        form = KpfForm("lite0", EARS["logmel"], channels=71, width=32, hidden=32, queries=2, size=SIZE)
        network, _ = starting_kpf(form, backbone_checkpoint=lite0)

        class Nameless(SyntheticSource):
            def __getitem__(self, item: int) -> LabelledClip:
                return replace(super().__getitem__(item), names={})

        nameless = KpfTraining(network, Nameless(made_clips("synth:moc:0-3"), SIZE), open_ear("logmel"))
        with pytest.raises(CoPropError, match="its masks are not of AVSBench's classes"):
            nameless.batch([0], np.random.default_rng(0))
        batch = KpfTraining(network, source("avss"), open_ear("logmel"), frames=2).batch(
            [0, 1], np.random.default_rng(0)
        )
        assert batch.labels.max() > 1

    def test_both_stages_from_the_command_line(
        self, lite0: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = ["--data", "synth:moc:0-2"]
        common = ["--steps", "2", "--batch", "2", "--device", "cpu", "--json", "-o"]
        small = "--width 32 --hidden 32 --queries 2 --encoder-layers 1 --decoder-layers 1 --size 32x32".split()
        seen = ["--backbone", "lite0", "--backbone-checkpoint", str(lite0), "--ear", "logmel"]
        assert main(["train", "kpf", *seen, *small, *data, *common, str(tmp_path / "all")]) == 0
        first = json.loads(capsys.readouterr().out)
        keys = str(tmp_path / "keys.json")
        assert main(["data", "keyframes", data[1], "--control-points", "truth", "--size", "48x48", "-o", keys]) == 0
        fine = ["train", "kpf", "--checkpoint", first["weights"], "--keyframes", keys, *data, *common]
        capsys.readouterr()
        assert main([*fine, str(tmp_path / "keyframes")]) == 0
        second = json.loads(capsys.readouterr().out)
        assert second["finished"] and KpfAdapter(second["weights"], device="cpu").size == (32, 32)
        settings = json.loads((tmp_path / "keyframes/run.json").read_text())["settings"]
        assert settings["keyframes"] == "truth" and settings["form"]["width"] == 32
        for words, message in (
            (
                ["--freeze-backbone", "--backbone", "resnet50", "--ear", "logmel"],
                "there are none: give --backbone-checkpoint",
            ),
            (["--backbone", "resnet50"], "give audio_checkpoint=FILE"),
            ([*seen, *small, "--frames", "0"], "takes 1 or more frames"),
            (["--checkpoint", str(lite0)], "does not fit"),
        ):
            assert main(["train", "kpf", *words, *data, *common, str(tmp_path / "x")]) == 2
            assert message in capsys.readouterr().err
