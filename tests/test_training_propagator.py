"""Training AOT and its insert: what moves and what stays, what the files are good for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import aot_scenes as scenes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_toys import Killed, contents, stop_after

import coprop_plugin as cp
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.guides import LOG_MEL_DIM, TextGuide, log_mel_features
from coprop_plugin.structures import AVSBENCH_NAMES
from coprop_plugin.training.loop import train
from coprop_plugin.training.networks import FIRST_STAGES, starting_network
from coprop_plugin.training.propagator import PropagatorTraining, seen_clips
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.sequences import SequenceRule
from coprop_plugin.training.sources import SyntheticSource

SIZE = (33, 33)
SOURCE = SyntheticSource(made_clips("synth:moc:0-5"), SIZE)
INSERT = {"audio_dim": LOG_MEL_DIM, "heard": "logmel"}
SCHEDULE = Schedule(steps=4, batch=2, learning_rate=1e-3, warm_up=0, save_every=2)


def training(
    model: str = "aott", *, scratch: bool = False, insert: Mapping[str, object] | None = INSERT, **options: object
) -> PropagatorTraining:
    network = starting_network(model, checkpoint=None if scratch else scenes.weights(model), insert=insert)
    context = int((insert or {}).get("context_frames", 0))  # type: ignore[call-overload]
    size = SIZE if network.config.align_corners else (32, 32)
    rule = SequenceRule(length=3, size=size, context_frames=context, missed_points=1)
    features = log_mel_features if insert else None
    return PropagatorTraining(network, SOURCE, rule, **{"pretrained": not scratch, "features": features, **options})


def changed(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def held(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


@pytest.mark.parametrize("model", ["aott", *(pytest.param(m, marks=pytest.mark.heavy) for m in MODELS if m != "aott")])
@pytest.mark.parametrize("own", [False, True])
def test_gradients_reach_everything_that_is_trained(model: str, own: bool) -> None:
    """Guards the networks against shortcuts that are right at inference only."""
    insert = {**INSERT, "context_frames": 1, "identity": True}
    trained = training(model, insert=insert, part="all")
    for parameter in trained.module.audio_insert.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter, std=0.1)
    free = {name for name, p in trained.module.named_parameters() if p.requires_grad}
    assert not any(name.startswith(FIRST_STAGES[MODELS[model].encoder]) for name in free)
    batch = trained.batch([0, 1], np.random.default_rng(0))
    trained.losses(batch, progress=0.6 if own else 0.1)["loss"].backward()
    reached = {name for name, p in trained.module.named_parameters() if p.grad is not None and p.grad.any()}
    resting = {name for name in free if name.startswith("patch_wise_id_bank")} if own else set()
    assert len(resting) == (2 if own else 0)
    assert reached == free - resting


def test_the_insert_alone_is_trained(tmp_path: Path) -> None:
    trained = training()
    before = held(trained.weights())
    train(trained, tmp_path, schedule=SCHEDULE)
    moved = changed(before, load_file(tmp_path / "weights.safetensors"))
    assert moved and all(name.startswith("audio_insert.levels.") for name in moved)
    assert {f"audio_insert.levels.{i}.projection.weight" for i in range(4)} <= moved


def test_all_is_trained_but_norms_and_the_first_stages(tmp_path: Path) -> None:
    trained = training(part="all")
    before = held(trained.weights())
    train(trained, tmp_path, schedule=SCHEDULE)
    moved = changed(before, load_file(tmp_path / "weights.safetensors"))
    assert {"encoder.features.5.conv.0.0.weight", "LSTT.layers.0.linear_Q.weight", "decoder.conv_out.weight"} <= moved
    assert not any("running" in name or name.startswith(FIRST_STAGES["mobilenet_v2"]) for name in moved)


def test_from_scratch_the_norms_follow_the_batches(tmp_path: Path) -> None:
    trained = training(scratch=True, insert=None, part="all")
    before = held(trained.weights())
    train(trained, tmp_path, schedule=SCHEDULE)
    weights = load_file(tmp_path / "weights.safetensors")
    moved = changed(before, weights)
    assert {"encoder.features.0.0.weight", "encoder.features.0.1.running_mean", "encoder.features.0.1.weight"} <= moved
    assert AOT("aott", checkpoint=weights, device="cpu").name == "aott"


def test_untrained_weights_are_those_of_the_checkpoint() -> None:
    weights = training().weights()
    assert not changed(scenes.weights("aott"), {n: v for n, v in weights.items() if not n.startswith("audio_insert")})


@pytest.mark.parametrize("part", ["insert", "all"])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, part: str) -> None:
    """Over the half, where the network's own masks take over and the identity bank rests."""
    insert = {**INSERT, "context_frames": 1}
    train(training(part=part, insert=insert), tmp_path / "whole", schedule=SCHEDULE)
    for stop in (1, 3):
        with pytest.raises(Killed):
            train(training(part=part, insert=insert), tmp_path / "run", schedule=SCHEDULE, on_step=stop_after(stop))
    train(training(part=part, insert=insert), tmp_path / "run", schedule=SCHEDULE)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.heavy
def test_killed_and_resumed_from_scratch(tmp_path: Path) -> None:
    options = {"part": "all", "scratch": True, "insert": None}
    train(training(**options), tmp_path / "whole", schedule=SCHEDULE)
    with pytest.raises(Killed):
        train(training(**options), tmp_path / "run", schedule=SCHEDULE, on_step=stop_after(3))
    train(training(**options), tmp_path / "run", schedule=SCHEDULE)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.heavy
def test_the_loss_falls(tmp_path: Path) -> None:
    """From scratch on one clip; before the half, as from then on only the hardest pixels count."""
    one = SyntheticSource(made_clips("synth:s4:0-0"), SIZE, masks="visible")
    rule = SequenceRule(length=2, size=SIZE, num_identities=2, flip_share=0)
    fresh = PropagatorTraining(starting_network("aott"), one, rule, part="all", pretrained=False)
    losses: list[float] = []

    def on_step(step: int, line: Mapping[str, float]) -> None:
        losses.append(line["following"])
        if step == 20:
            raise Killed

    schedule = Schedule(steps=80, batch=2, learning_rate=1e-3, final_rate=1e-4, save_every=80)
    with pytest.raises(Killed):
        train(fresh, tmp_path, schedule=schedule, on_step=on_step)
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:3])


def test_shuffled_sequences_hear_each_other() -> None:
    drawn = [
        training(sound=sound).batch([0, 1], np.random.default_rng(0))
        for sound in ("true", "shuffled")  # type: ignore[arg-type]
    ]
    true, shuffled = (batch.audio.own.unflatten(0, (3, 2)) for batch in drawn)
    assert torch.equal(true.flip(1), shuffled) and not torch.equal(true, shuffled)
    assert torch.equal(drawn[0].images, drawn[1].images) and torch.equal(drawn[0].labels, drawn[1].labels)
    with pytest.raises(CoPropError, match="needs a batch of 2 or more"):
        training(sound="shuffled").batch([0], np.random.default_rng(0))


def test_training_and_inference_compute_the_same(tmp_path: Path) -> None:
    """The masks that the loss sees are those that the propagator gives, its own masks fed back, its sound heard."""
    insert = {**INSERT, "context_frames": 1, "identity": True}
    trained = training(insert=insert, part="all")
    for parameter in trained.module.audio_insert.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter, std=0.05)
    rule = SequenceRule(length=3, size=SIZE, context_frames=1, flip_share=0, num_identities=3)
    trained._rule = rule  # identities as inference numbers them are a matter of luck: draw until they are
    rng = np.random.default_rng(0)
    while True:
        batch = trained.batch([1], rng)
        if batch.used[0].nonzero().max() == batch.used[0].sum() - 1 and (batch.labels[-1] >= 0).all():
            break
    with torch.no_grad():
        logits = list(trained._logits(batch, own=True))
    first = int(batch.names[0].rpartition(" ")[2])
    clip = make_clip(1, kind="moc", size=SIZE).clip
    flags = np.flatnonzero(make_clip(1, kind="moc", size=SIZE).scene.control_points().flags).tolist()
    start = max(t for t in flags if t <= first)
    stop = [*flags, clip.num_frames, clip.num_frames][flags.index(start) + 2]
    count = int(batch.used[0].sum())
    mask = (batch.labels[0, 0].numpy() == np.arange(count)[:, None, None]).astype(np.float32)
    propagator = AOT("aott", checkpoint=trained.weights(), device="cpu", audio="logmel")
    (masks,) = propagator.propagate(clip, [PropagationTask(start, stop, first, mask)])
    for t in (1, 2):
        expected = logits[t][0, :count].softmax(dim=0).numpy()
        np.testing.assert_allclose(masks[first + t - start], expected, atol=scenes.FED)


class TestCommand:
    """``coprop train propagator``, and its files in the other commands."""

    def flags(self, output: Path, *more: str) -> list[str]:
        shared = "--model aott --size 33x33 --length 2 --steps 2 --batch 2 --json --seed 3"
        return ["train", "propagator", *shared.split(), "--data", "synth:moc:0-3", "-o", str(output), *more]

    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> Path:
        save_file(dict(scenes.weights("aott")), tmp_path / "aott.safetensors")
        return tmp_path / "aott.safetensors"

    def test_from_a_checkpoint_to_refined_masks(
        self, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = self.flags(tmp_path / "run", "--checkpoint", str(checkpoint), "--audio-context", "1")
        assert main([*command, "--budget-s", "1e-9"]) == 0
        assert json.loads(capsys.readouterr().out)["steps"] == 1
        assert main(command) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["finished"] and told["steps"] == 2
        assert main(["synth", str(tmp_path / "set"), "--kind", "moc", "--videos", "1", "--split", "test",
                     "--size", "48x48", "--simulate", "lag:1"]) == 0  # fmt: skip
        (frames,) = (tmp_path / "set").glob("AVSS/v2/*/frames")
        (masks,) = (tmp_path / "set/predictions/lag-1").iterdir()
        refine = ["refine", str(frames), "--audio", str(frames.parent / "audio.wav"), "--masks", str(masks),
                  "--classes", "avsbench", "--propagator", "aott", "--propagator-checkpoint", told["weights"],
                  "--fusion", "replace", "--control-points", "every_k:k=3", "-o", str(tmp_path / "out")]  # fmt: skip
        assert main(refine) == 0
        assert len(list((tmp_path / "out/masks").glob("*.png"))) == 10
        method = cp.CoProp(propagator={"name": "aott", "checkpoint": told["weights"]})
        assert method.propagator.name == "aott"
        # trained on from there, the insert's form is kept and checked
        again = ["--checkpoint", told["weights"], "--train", "all"]
        assert main(self.flags(tmp_path / "more", *again)) == 2
        assert "'context_frames': 1" in capsys.readouterr().err
        assert main(self.flags(tmp_path / "more", *again, "--audio-context", "1")) == 0

    def test_from_scratch(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(self.flags(tmp_path / "run", "--hears", "none", "--masks", "visible")) == 0
        assert AOT("aott", checkpoint=json.loads(capsys.readouterr().out)["weights"], device="cpu").name == "aott"

    def test_words_in_place_of_the_sound(
        self, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("transformers")
        from tiny_language import bert

        folder = bert(tmp_path / "text", words=AVSBENCH_NAMES)
        hears = ["--hears", "text", "--audio-checkpoint", str(folder), "--checkpoint", str(checkpoint)]
        assert main(self.flags(tmp_path / "run", *hears)) == 0
        trained = load_file(json.loads(capsys.readouterr().out)["weights"])
        fresh = starting_network("aott", checkpoint=trained)
        assert fresh.audio_insert is not None
        assert fresh.audio_insert.heard == "text" and fresh.audio_insert.audio_dim == 16
        moved = [name for name in trained if name.endswith("projection.weight") and trained[name].any()]
        assert len([name for name in moved if name.startswith("audio_insert")]) == 4
        for name in moved:  # two steps move little: enough to see which words are heard
            trained[name] = trained[name] * (1000 if name.startswith("audio_insert") else 1)
        propagator = AOT("aott", checkpoint=trained, audio_checkpoint=folder, device="cpu")
        clip = make_clip(1, kind="moc", size=SIZE).clip
        mask = np.zeros((2, *SIZE), np.float32)
        mask[0, :, :16], mask[1, :, 16:] = 1, 1
        tasks = [PropagationTask(0, 2, 0, mask, categories=(name,)) for name in ("axe", "dog", "axe")]
        one, other, again = propagator.propagate(clip, tasks)
        assert not np.allclose(one[1], other[1], atol=1e-3)
        np.testing.assert_allclose(one, again, atol=scenes.FED)
        for flags, message in (
            (["--audio-context", "1"], "a text-guided insert has no context"),
            (["--masks", "visible"], "have none. Train on clips with classes"),
        ):
            assert main(self.flags(tmp_path / "more", *hears, *flags)) == 2
            assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--hears", "none", "--train", "insert"], "no audio insert to train"),
            (["--train", "insert"], "cannot be trained on a network that knows nothing"),
            (["--hears", "vggish"], "--hears vggish needs --audio-checkpoint"),
            (["--hears", "text"], "--hears text needs --audio-checkpoint FOLDER"),
            (["--size", "34x33"], "the nearest is 33x33"),
            (["--size", "33"], "as 224x224"),
            (["--model", "aot"], "unknown AOT model 'aot'"),
            (["--data", "synth:moc:3-2"], "there are no clips"),
            (["--data", "elsewhere"], "or the folder of a data set; got 'elsewhere'"),
            (["--steps", "0"], "steps, batch and save_every of at least 1"),
            (["--budget-s", "-1"], "a positive number of seconds"),
            (["--checkpoint", "nowhere.pth"], "no weights file at 'nowhere.pth'"),
            (["--missed-points", "9"], "none of the 4 clips has an object"),
        ],
        ids=str,
    )
    def test_what_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
    ) -> None:
        assert main(self.flags(tmp_path / "run", *flags)) == 2
        assert message in capsys.readouterr().err

    def test_another_models_checkpoint(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        torch.save({"state_dict": dict(scenes.weights("aotl"))}, tmp_path / "aotl.pth")
        assert main(self.flags(tmp_path / "run", "--checkpoint", str(tmp_path / "aotl.pth"))) == 2
        told = capsys.readouterr().err
        assert "does not fit AOTNetwork" in told and "These look like the weights of aotb or aotl" in told  # one layout
        assert not (tmp_path / "run").exists()

    def test_other_settings_in_the_same_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        flags = self.flags(tmp_path / "run", "--hears", "none")
        assert main(flags) == 0
        assert main([*flags, "--seed", "4"]) == 2
        assert "holds a training with other settings" in capsys.readouterr().err


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"insert": None}, "no audio insert to train"),
            ({"features": None}, "give both or none"),
            ({"part": "decoder"}, "unknown part to train 'decoder'"),
            ({"sound": "none"}, "unknown sound 'none'"),
            ({"scratch": True}, "knows nothing"),
        ],
        ids=str,
    )
    def test_options_that_do_not_go_together(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(CoPropError, match=message):
            training(**options)  # type: ignore[arg-type]

    def test_another_context(self) -> None:
        network = starting_network("aott", checkpoint=scenes.weights("aott"), insert={**INSERT, "context_frames": 2})
        with pytest.raises(CoPropError, match="hears 2 frames to each side, the sequences bring 0"):
            PropagatorTraining(network, SOURCE, SequenceRule(size=SIZE), features=log_mel_features)

    def test_a_network_that_overflows(self, tmp_path: Path) -> None:
        state = held(scenes.weights("aott"))
        state["decoder.conv_out.weight"] *= float(np.finfo(np.float32).max)
        network = starting_network("aott", checkpoint=state)
        broken = PropagatorTraining(network, SOURCE, SequenceRule(length=2, size=SIZE), part="all")
        with pytest.raises(CoPropError, match=r"step 1: the (loss|gradient) is (nan|inf), on moc_00000\d from frame"):
            train(broken, tmp_path, schedule=SCHEDULE)
        assert not (tmp_path / "weights.safetensors").exists()

    def test_an_insert_that_hears_what_nobody_knows(self) -> None:
        weights = held(training().weights())
        weights["audio_insert.heard_kind"] = torch.tensor(9)
        with pytest.raises(CheckpointError, match="'heard_kind' of one of any, vggish, text, logmel"):
            starting_network("aott", checkpoint=weights)
        with pytest.raises(CoPropError, match="unknown kind of audio tokens 'clap'"):
            starting_network("aott", insert={"heard": "clap"})


@pytest.mark.parametrize("hears", ["logmel", "text"])
def test_what_was_seen_trains_as_what_is_seen_each_time(tmp_path: Path, hears: str) -> None:
    """The same batches, and the same losses from them; made, and read again."""
    insert = {"audio_dim": 3, "heard": "text"} if hears == "text" else INSERT
    network = starting_network("aott", checkpoint=scenes.weights("aott"), insert=insert)
    for parameter in network.audio_insert.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter, std=0.1)
    features = log_mel_features if hears == "logmel" else TextGuide(words, dim=3)
    rule = SequenceRule(length=3, size=SIZE, missed_points=1, flip_share=0)
    seen = seen_clips(tmp_path, SOURCE, network, log_mel_features, size=SIZE, ear="logmel")
    told = []
    for kept in (None, seen, seen):
        trained = PropagatorTraining(network, SOURCE, rule, features=features, seen=kept)
        batch = trained.batch([0, 1, 2], np.random.default_rng(3))
        losses = trained.losses(batch, progress=0.3)
        network.zero_grad()
        losses["loss"].backward()
        gradient = network.audio_insert.levels["3"].projection.weight.grad  # type: ignore[union-attr,index]
        told.append((batch.names, batch.labels, losses["loss"].item(), gradient.clone()))
        assert (batch.images is None) == (kept is not None)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    for names, labels, loss, gradient in told[1:]:
        assert names == told[0][0] and torch.equal(labels, told[0][1])
        assert loss == pytest.approx(told[0][2], rel=1e-5)
        torch.testing.assert_close(gradient, told[0][3], rtol=1e-3, atol=1e-6)
    for options in ({"part": "all"}, {"moves": True}):
        with pytest.raises(CoPropError, match="train the insert alone"):
            PropagatorTraining(network, SOURCE, rule, features=features, seen=seen, **options)  # type: ignore[arg-type]
    with pytest.raises(CoPropError, match="nor mirrored"):
        PropagatorTraining(network, SOURCE, replace(rule, flip_share=0.5), features=features, seen=seen)


def words(given: Sequence[str]) -> np.ndarray:
    return np.array([[len(word) / 10, 1, 0] for word in given], np.float32)


def test_inserts_of_several_forms_share_what_was_seen(tmp_path: Path) -> None:
    """From the command: other levels, shuffled sound; what was seen of a clip is worked out once."""
    save_file({n: v.contiguous() for n, v in scenes.weights("aott").items()}, tmp_path / "aott.safetensors")
    command = ["train", "propagator", "--model", "aott", "--checkpoint", str(tmp_path / "aott.safetensors")]
    command += ["--data", "synth:moc:0-2", "--size", "33x33", "--length", "3", "--seen", str(tmp_path / "seen")]
    command += ["--steps", "1", "--batch", "3"]
    held = []
    for name, more in (("one", ["--levels", "last"]), ("four", []), ("other", ["--shuffled"])):
        assert main([*command, *more, "-o", str(tmp_path / name)]) == 0
        held.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "seen").glob("*.safetensors")})
        record = json.loads((tmp_path / name / "run.json").read_text())["settings"]
        assert record["seen"] is True and record["sequences"]["flip_share"] == 0
    assert len(held[0]) == 3 and held[0] == held[1] == held[2]
    assert main([*command, "--moved", "-o", str(tmp_path / "moved")]) == 2
