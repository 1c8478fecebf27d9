"""The small base models by themselves, as adapters and trained; and what a frozen backbone saw, kept for trainings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.adapters.images import normalise, resize_bilinear
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.errors import CheckpointError
from coprop_plugin.keyframe.ears import EARS, open_ear
from coprop_plugin.keyframe.former import Former, FormerForm, look_around
from coprop_plugin.keyframe.lite0 import WEIGHTS
from coprop_plugin.keyframe.network import KpfForm
from coprop_plugin.keyframe.whole import WholeClip, WholeForm
from coprop_plugin.layers.deformable import DeformableAttention
from coprop_plugin.layers.efficientnet_lite import EfficientNetLite0
from coprop_plugin.training.kpf import KpfTraining, starting_base, starting_kpf
from coprop_plugin.training.loop import train
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.seen import SeenClips
from coprop_plugin.training.sources import SyntheticSource
from coprop_plugin.weights.checkpoint import read_state_dict

SIZE = (32, 32)
FORM = WholeForm(EARS["logmel"], width=16, size=SIZE)
FORMER = FormerForm(EARS["logmel"], width=64, size=SIZE, queries=3, layers=1)
KPF = KpfForm("lite0", EARS["logmel"], width=32, hidden=32, queries=2, encoder_layers=1, decoder_layers=1, size=SIZE)
SCHEDULE = Schedule(steps=4, batch=2, learning_rate=1e-3, warm_up=0, save_every=2)


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network() -> WholeClip:
    torch.manual_seed(1)
    network = WholeClip(FORM).eval()
    for i in range(1, 5):  # an untrained attention adds nothing
        torch.nn.init.ones_(network.get_parameter(f"tpavi_b{i}.W_z.1.weight"))
    return network


def source() -> SyntheticSource:
    return SyntheticSource(made_clips("synth:moc:0-2"), SIZE)


def training(lite0: Path, kind: str, folder: Path | None, **options: int) -> KpfTraining:
    if kind == "kpf":
        network, _ = starting_kpf(KPF, backbone_checkpoint=lite0)
    else:
        make = (lambda: WholeClip(FORM)) if kind == "tpavi" else (lambda: Former(FORMER))
        network = starting_base(make, backbone_checkpoint=lite0)  # type: ignore[assignment,type-var]
    hear, clips = open_ear("logmel"), source()
    seen = folder and SeenClips(folder, clips, network.backbone.eval(), hear, size=SIZE, key={}, **options)
    return KpfTraining(network, clips, hear, frames=5, freeze_backbone=True, seen=seen)


@torch.inference_mode()
def test_frames_of_a_group_hear_each_other_and_no_others(network: WholeClip) -> None:
    pictures, sounds = torch.randn(10, 3, *SIZE), torch.randn(10, FORM.audio_dim)
    before = network(pictures, sounds)[0]
    sounds[7] = torch.randn(FORM.audio_dim)
    after = network(pictures, sounds)[0]
    assert before.shape == (10, 1, *SIZE) and torch.equal(before[:5], after[:5])
    assert all((before[t] - after[t]).abs().max() > 1e-6 for t in range(5, 10))


def test_weights_tell_the_form_and_odd_ones_are_named(network: WholeClip) -> None:
    assert WholeForm.of(network.state_dict()) == FORM
    clip = made_clips("synth:moc:0-0").make(0, size=(48, 80)).clip
    adapter = cp.build_adapter("tpavi_lite", checkpoint=network.state_dict(), device="cpu")
    whole, alone = adapter.predict(clip), adapter.predict_frames(clip, [3])
    assert whole.size == SIZE and not np.allclose(whole.frame(3), alone[3]), "a frame alone is another function"
    for odd, words in (
        ({"weight": torch.zeros(3)}, "does not fit"),
        ({**network.state_dict(), "input_px": torch.tensor([33, 32])}, "no small TPAVI that can be"),
        ({**network.state_dict(), "tpavi_b1.align_channel.weight": torch.zeros(7, 3)}, "no small TPAVI that can be"),
    ):
        with pytest.raises(CheckpointError, match=words):
            cp.build_adapter("tpavi_lite", checkpoint=odd)


def test_frames_of_the_small_avsegformer_never_meet_and_its_weights_tell_its_form() -> None:
    torch.manual_seed(2)
    state = Former(FORMER).state_dict()
    assert FormerForm.of(state) == FORMER
    clip = made_clips("synth:moc:0-0").make(0, size=(48, 80)).clip
    adapter = cp.build_adapter("avsegformer_lite", checkpoint=state, device="cpu")
    whole, alone = adapter.predict(clip), adapter.predict_frames(clip, [3])
    assert whole.size == SIZE
    np.testing.assert_allclose(whole.frame(3), alone[3], atol=1e-5)
    for odd in (
        {"audio_proj.weight": torch.zeros(33, 40)},
        {"head.learnable_query.weight": torch.zeros(4)},
        {"input_px": torch.tensor([31, 32])},
    ):
        with pytest.raises(CheckpointError, match=r"no small AVSegFormer that can be|does not fit"):
            cp.build_adapter("avsegformer_lite", checkpoint=state | odd)
    with pytest.raises(CoPropError, match="width in multiples of 64"):
        FormerForm(width=48)
    for nothing in ({"queries": 0}, {"layers": 0}):
        with pytest.raises(CoPropError, match="1 or more queries and layers"):
            FormerForm(**nothing)


@torch.no_grad()
def test_sound_asks_the_small_avsegformer() -> None:
    """Another sound, other masks; and a pixel that is bright is no object before anything is learned."""
    torch.manual_seed(3)
    network = Former(FORMER).eval()
    pictures, sounds = torch.randn(2, 3, *SIZE), torch.randn(2, FORMER.audio_dim)
    before, after = network(pictures, sounds)[-1], network(pictures, -sounds)[-1]
    assert (before - after).abs().max() > 1e-4 and before.sigmoid().mean() < 0.3


def test_heads_begin_by_looking_around() -> None:
    attention = DeformableAttention(16, heads=4, levels=2, points=2)
    look_around(attention)
    offsets = attention.sampling_offsets.bias.view(4, 2, 2, 2)
    assert torch.allclose(offsets[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0]]), atol=1e-6)
    assert torch.equal(offsets[:, 0], offsets[:, 1]) and torch.allclose(offsets[2], -offsets[0], atol=1e-6)
    assert not attention.sampling_offsets.weight.any() and not attention.attention_weights.bias.any()


@pytest.mark.parametrize("kind", ["kpf", "tpavi"])
def test_what_was_kept_trains_as_what_is_seen_each_time(lite0: Path, tmp_path: Path, kind: str) -> None:
    ended = []
    for name, options in (("kept", {}), ("never", {"most_bytes": 0}), ("one", {"most_bytes": 250_000})):
        told = train(training(lite0, kind, tmp_path / name, **options), tmp_path / f"run-{name}", schedule=SCHEDULE)
        ended.append(told.weights.read_bytes())
    assert ended[0] == ended[1] == ended[2]
    sizes = {
        name: [p.stat().st_size for p in (tmp_path / name).glob("*.safetensors")] for name in ("kept", "never", "one")
    }
    assert len(sizes["kept"]) == 3 and not sizes["never"] and sum(sizes["one"]) <= 250_000
    files = sorted((tmp_path / "kept").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:500])
    again = train(training(lite0, kind, tmp_path / "kept"), tmp_path / "run-again", schedule=SCHEDULE)
    assert again.weights.read_bytes() == ended[0], "a damaged file is worked out again"


def test_what_is_kept_is_what_the_backbone_sees(lite0: Path, tmp_path: Path) -> None:
    network, _ = starting_kpf(KPF, backbone_checkpoint=lite0)
    clips, hear = source(), open_ear("logmel")
    seen = SeenClips(tmp_path, clips, network.backbone.eval(), hear, size=SIZE, key={})
    for _ in range(2):  # made, then read
        clip = seen[1]
        pictures = normalise(resize_bilinear([np.asarray(frame) for frame in clips[1].clip.frames], SIZE))
        with torch.no_grad():
            for kept, expected in zip(clip.maps, network.backbone(pictures), strict=True):
                np.testing.assert_array_equal(kept, expected.numpy())
        np.testing.assert_array_equal(clip.heard, hear(clips[1].clip))
        np.testing.assert_array_equal(clip.labels, clips[1].labels)
    with pytest.raises(CoPropError, match="freeze it"):
        KpfTraining(network, clips, hear, seen=seen)
    with pytest.raises(CoPropError, match="in whole groups"):
        KpfTraining(WholeClip(FORM), clips, hear, frames=4)


@pytest.mark.parametrize("kind", ["tpavi", "avsegformer"])
def test_all_but_the_backbone_is_trained(lite0: Path, tmp_path: Path, kind: str) -> None:
    trained = training(lite0, kind, tmp_path / "seen")
    before = {name: value.clone() for name, value in trained.module.named_parameters()}
    train(trained, tmp_path / "run", schedule=SCHEDULE)
    for name, value in trained.module.named_parameters():
        assert torch.equal(before[name], value) == name.startswith("backbone."), name


@pytest.mark.parametrize(
    ("subject", "flags"), [("tpavi", "--width 16"), ("avsegformer", "--width 64 --queries 2 --layers 1 --frames 2")]
)
def test_from_the_command_line(
    lite0: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], subject: str, flags: str
) -> None:
    common = ["--data", "synth:moc:0-1", "--steps", "1", "--batch", "2", "--device", "cpu", "--json"]
    form = ["--ear", "logmel", "--size", "32x32", "--backbone-checkpoint", str(lite0), *flags.split()]
    out = ["--seen", str(tmp_path / "seen"), "-o", str(tmp_path / "run")]
    assert main(["train", subject, *common, *form, *out]) == 0
    weights = json.loads(capsys.readouterr().out)["weights"]
    assert cp.build_adapter(f"{subject}_lite", checkpoint=weights, device="cpu").size == SIZE
    assert len(list((tmp_path / "seen").iterdir())) == 2
    kpf = "--backbone lite0 --ear logmel --width 32 --hidden 32 --queries 2 --size 32x32".split()
    assert main(["train", "kpf", *common, *kpf, "--backbone-checkpoint", str(lite0), *out]) == 2
    assert "add --freeze-backbone" in capsys.readouterr().err


class TestShippedKeyframeProcessor:
    @pytest.fixture(scope="class")
    def whole(self, lite0: Path) -> dict[str, torch.Tensor]:
        torch.manual_seed(4)
        return starting_kpf(KPF, backbone_checkpoint=lite0)[0].state_dict()

    def test_what_is_shipped_with_its_backbone_is_what_was_trained(
        self, whole: dict[str, torch.Tensor], lite0: Path
    ) -> None:
        clip = made_clips("synth:moc:0-0").make(0, size=(48, 80)).clip
        trained = cp.build_adapter("kpf", checkpoint=whole, device="cpu").predict(clip).frame(2)
        part = {
            name: value.half() if value.is_floating_point() else value  # as the shipped file holds it
            for name, value in whole.items()
            if not name.startswith("backbone.")
        }
        shipped = cp.build_adapter("kpf_lite0", checkpoint=part, backbone_weights=lite0, device="cpu").predict(clip)
        np.testing.assert_allclose(shipped.frame(2), trained, atol=0.05)

    def test_the_package_brings_it_and_damage_is_named(self, lite0: Path, tmp_path: Path) -> None:
        assert WEIGHTS.stat().st_size < 12e6 and WEIGHTS.with_suffix(".md").is_file()
        names = read_state_dict(WEIGHTS)
        assert not any(name.startswith("backbone.") for name in names) and names["queries"].dtype == torch.float16
        adapter = cp.build_adapter("kpf_lite0", backbone_weights=lite0, device="cpu")
        assert adapter.size == (160, 160) and adapter.network.form.audio_dim == EARS["yamnet"]
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(WEIGHTS.read_bytes()[:9000])
        with pytest.raises(CheckpointError, match="damaged"):
            cp.build_adapter("kpf_lite0", checkpoint=cut, backbone_weights=lite0)
        with pytest.raises(CoPropError):
            cp.build_adapter("kpf_lite0", backbone_weights=tmp_path / "none.pth")
