"""Training SSP: its losses against loops, its two phases, its data, and that it can be stopped."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rule_weights import rule_state
from safetensors.torch import load_file
from ssp_cases import BERT, STAGE_1, VISION_DIM, WORDS, clip_of, encoders
from torch import Tensor

import coprop_plugin as cp
from coprop_plugin.adapters.aavs.network import Aavs
from coprop_plugin.adapters.ssp.align import TextConfig
from coprop_plugin.adapters.ssp.encoders import Encoders
from coprop_plugin.adapters.ssp.network import PRE_MASKED, Ssp
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.cli.main import main
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.language.answers import SavedAnswers
from coprop_plugin.layers.mask2former import Output
from coprop_plugin.propagators.flow_sources import Dis
from coprop_plugin.propagators.motion import MotionMasks
from coprop_plugin.training import ssp_start
from coprop_plugin.training.loop import train
from coprop_plugin.training.losses import IGNORE
from coprop_plugin.training.schedule import TwoPhases
from coprop_plugin.training.sequences import LabelledClip
from coprop_plugin.training.set_losses import Targets, matched, post_loss, sampled, set_losses, uncertain_points
from coprop_plugin.training.ssp import SspRule, SspTraining
from coprop_plugin.training.ssp_clips import SspClips, vggish_of
from coprop_plugin.training.ssp_start import starting_ssp

SIZE = (32, 32)
SAID = {f"clip{i}": [f"a man is playing the {word}", f"{word}, man."] for i, word in enumerate(["guitar", "piano"])}


class Clips:
    """A few clips of noise whose sounding object is a square; one frame's truth is not known."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, item: int) -> LabelledClip:
        clip = clip_of(3, name=f"clip{item}")
        labels = np.zeros((3, *clip.size), np.int16)
        labels[:2, 8:30, 10 + 5 * item : 30 + 5 * item] = 5
        labels[2] = IGNORE
        return LabelledClip(clip, labels, np.array([True, False, False]))

    def describe(self) -> str:
        return "squares"


def heard(clip) -> Tensor:
    return torch.linspace(-1, 1, 128 * clip.num_frames).reshape(clip.num_frames, 128)


def clips_of(texts: Encoders | None = None, *, stage: int = 1) -> SspClips:
    answers = None if texts is None else SavedAnswers(SAID)
    motion = MotionMasks(Dis())
    return SspClips(Clips(), size=SIZE, heard=heard, motion=motion, stage=stage, answers=answers, encoders=texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders")
    encoders(path)
    return path


@pytest.fixture(scope="module")
def texts(folder: Path) -> Encoders:
    return Encoders(folder / "bert", folder / "clip", device="cpu")


def training(rule: SspRule, *, seed: int = 0, texts: Encoders | None = None) -> SspTraining:
    text = None if texts is None else TextConfig(BERT, VISION_DIM)
    network, _ = starting_ssp(1, sizes=STAGE_1, text=text, seed=seed)
    return SspTraining(network, clips_of(texts), rule)


# losses


def outputs_of(*, queries: int = 4, classes: int = 3, size: int = 6) -> tuple[Output, Tensor]:
    torch.manual_seed(0)
    labels = torch.zeros(2, size, size, dtype=torch.long)
    labels[0, :3], labels[0, 3:, 3:], labels[1, 2:4] = 1, 2, 1
    return Output(torch.randn(2, queries, classes + 1), torch.randn(2, queries, size, size) * 3), labels


def cost_by_hand(output: Output, t: int, query: int, mask: Tensor, label: int) -> float:
    z, y = output.masks[t, query].flatten(), mask.flatten()
    p = z.sigmoid()
    cross = F.binary_cross_entropy_with_logits(z, y)
    dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return float(5 * cross + 5 * dice - 2 * output.classes[t, query].softmax(-1)[label])


def test_queries_are_matched_as_by_trying_all_ways() -> None:
    output, labels = outputs_of()
    targets = Targets.of(labels)
    assert targets.classes.tolist() == [[0, 1, 2], [0, 1, -1]]
    frames, queries, wanted = matched(output, targets, 0)
    for t, count in enumerate((3, 2)):
        ways = itertools.permutations(range(4), count)
        costs = {
            way: sum(
                cost_by_hand(output, t, q, targets.masks[t, g], int(targets.classes[t, g])) for g, q in enumerate(way)
            )
            for way in ways
        }
        own = frames == t
        found = dict(zip(wanted[own].tolist(), queries[own].tolist(), strict=True))
        assert tuple(found[g] for g in range(count)) == min(costs, key=costs.__getitem__)


def test_losses_are_their_formulas() -> None:
    output, labels = outputs_of()
    moving = torch.zeros(2, 6, 6)
    moving[0, :2] = 1  # of class 1 in the first frame alone
    targets = Targets.of(labels, moving)
    frames, queries, wanted = matched(output, targets, 0)
    z, y = output.masks[frames, queries].flatten(1), targets.masks[frames, wanted].flatten(1)
    p = z.sigmoid()
    by_query = torch.full((2, 4), 3)
    by_query[frames, queries] = targets.classes[frames, wanted]
    weight = torch.where(by_query == 3, 0.1, 1.0)
    said = -output.classes.log_softmax(-1).gather(2, by_query[..., None])[..., 0]
    (own,) = [q for t, q, g in zip(frames, queries, wanted, strict=True) if t == 0 and targets.classes[t, g] == 1]
    by_hand = {
        "mask": F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(),
        "dice": (1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean(),
        "class": (weight * said).sum() / weight.sum(),
        "post": F.binary_cross_entropy_with_logits(output.masks[0, own], (labels[0] == 1) * moving[0]),
    }
    found = set_losses([output, output], targets, points=0, post_weight=10.0)
    for name, value in by_hand.items():
        torch.testing.assert_close(found[name], 2 * value, msg=name)
    total = 5 * by_hand["mask"] + 5 * by_hand["dice"] + 2 * by_hand["class"] + 10 * by_hand["post"]
    torch.testing.assert_close(found["loss"], 2 * total)
    assert "post" not in set_losses([output], Targets.of(labels), points=0)


def test_what_stands_still_is_not_pushed_to_nothing() -> None:
    logits = torch.randn(2, 4, 4, requires_grad=True)
    masks, moving = torch.ones(2, 4, 4), torch.zeros(2, 4, 4)
    moving[1] = 1
    post_loss(logits, masks, moving, 0).backward()
    assert (logits.grad[0] == 0).all() and (logits.grad[1] != 0).all()
    assert post_loss(logits[:1], masks[:1], moving[:1], 0) == 0


def test_points_are_where_it_is_uncertain_and_hit_the_right_pixels() -> None:
    where = torch.tensor([[[0.125, 0.625], [0.875, 0.125]]])
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert sampled(maps, where).tolist() == [[[8, 3]]]
    torch.manual_seed(0)
    logits = torch.full((1, 32, 32), 9.0)
    logits[:, 16] = 0
    chosen = uncertain_points(logits, 64)
    assert ((chosen[0, :, 1] - 16.5 / 32).abs() < 1 / 32).float().mean() > 0.2  # of all places 2 in 32 are that near


def test_many_points_are_all_pixels() -> None:
    output, labels = outputs_of(size=16)
    big = Output(output.classes, F.interpolate(torch.randn(2, 4, 3, 3), (16, 16), mode="bicubic"))
    torch.manual_seed(0)
    every, some = (set_losses([big], Targets.of(labels), points=points)["mask"] for points in (0, 20000))
    assert abs(float(every) - float(some)) < 0.25 * float(every)


# what is trained


def test_frames_without_truth_are_left_out_and_clips_are_prepared_once(texts: Encoders) -> None:
    clips = clips_of(texts)
    one = clips[1]
    assert one.frames.shape == (2, 32, 32, 3) and one.labels.max() == 1 and one.heard.shape == (2, 128)
    assert one.tokens is not None and clips[2].tokens is None  # no answers were given about it
    assert clips[1] is one and clips_of(stage=2)[1].labels.max() == 5
    batch = clips.batch([1, 2], [np.array([1]), np.array([0, 1])], torch.device("cpu"))
    assert str(batch) == "clip1, clip2" and batch.texts is not None
    assert batch.texts.there.tolist() == [True, False, False] and len(batch.frames) == 3
    np.testing.assert_array_equal(batch.frames[0], one.frames[1])
    small = SspClips(Clips(), size=SIZE, heard=heard, motion=MotionMasks(Dis()), cache_bytes=one.num_bytes)
    assert small[0] is not small[0] or len(small._kept) == 1
    small[1]
    assert list(small._kept) == [1]


@pytest.mark.parametrize("pre_mask", ["truth", "flow", "off"])
def test_the_weights_say_whether_they_saw_pre_masks(pre_mask) -> None:
    trainable = training(SspRule(pre_mask=pre_mask, points=0))
    assert int(trainable.weights()[PRE_MASKED]) == (pre_mask != "off")


def test_two_phases_of_aavs() -> None:
    schedule = TwoPhases(steps=10, learning_rate=1e-3, final_rate=1e-4, second_phase=0.5)
    assert [schedule.rate(step) for step in (0, 4, 5, 9)] == [1e-3, 1e-3, 1e-4, 1e-4]
    trainable = training(SspRule(points=0))
    batch = trainable.batch([0, 1], np.random.default_rng(0))
    moved = {}
    for progress in (0.0, 0.5):
        trainable.module.zero_grad(set_to_none=True)
        trainable.losses(batch, progress=progress)["loss"].backward()
        moved[progress] = {name for name, p in trainable.module.named_parameters() if p.grad is not None}
    late = {name for name in moved[0.5] if "swin_adapt" in name}
    assert late and moved[0.5] - moved[0.0] == late
    assert all("avs_adapt" in n or "queries" in n or "class_predictor" in n or "audio_proj" in n for n in moved[0.0])
    groups = {id(p) for group in trainable.groups() for p in group["params"]}
    assert {id(p) for name, p in trainable.module.named_parameters() if name in moved[0.5]} == groups


def test_gradients_reach_every_new_parameter_through_the_losses(texts: Encoders) -> None:
    trainable = training(SspRule(points=0), texts=texts)
    trainable.losses(trainable.batch([0, 1], np.random.default_rng(0)), progress=0.0)["loss"].backward()
    without = {
        name
        for name, p in trainable.module.named_parameters()
        if name.startswith(("align.", "fusion.")) and (p.grad is None or not p.grad.abs().sum() > 0)
    }
    assert not {name for name in without if not name.endswith("self.key.bias")}  # it shifts all keys alike


@pytest.mark.parametrize("points", [0, 50])
def test_resumed_is_uninterrupted(points: int, texts: Encoders, tmp_path: Path) -> None:
    rule = SspRule(points=points, frames=1)
    schedule = TwoPhases(steps=4, batch=2, learning_rate=1e-3, final_rate=1e-4, save_every=2, clip_norm=0.01)
    whole = train(training(rule, texts=texts), tmp_path / "whole", schedule=schedule)

    def stop(step: int, line) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training(rule, texts=texts), tmp_path / "parts", schedule=schedule, on_step=stop)
    train(training(rule, texts=texts), tmp_path / "parts", schedule=replace(schedule), budget_s=1e-9)
    parts = train(training(rule, texts=texts), tmp_path / "parts", schedule=schedule)
    ours, theirs = load_file(parts.weights), load_file(whole.weights)
    assert parts.finished and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not torch.equal(theirs["fusion.norm.weight"], torch.ones(64))


def test_a_few_steps_learn(tmp_path: Path) -> None:
    schedule = TwoPhases(steps=8, batch=2, learning_rate=1e-3, final_rate=1e-3, save_every=8, clip_norm=1.0)
    train(training(SspRule(points=0, part="all")), tmp_path / "run", schedule=schedule)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


# where it begins


def test_it_begins_as_aavs_whatever_the_names_begin_with() -> None:
    state = rule_state(lambda: Aavs(replace(STAGE_1, queries=30)))
    text = TextConfig(BERT, VISION_DIM)
    network, taken = starting_ssp(1, checkpoint=state, text=text)
    ours = network.state_dict()
    assert taken == len(state) and all(torch.equal(ours[name], value) for name, value in state.items())
    assert float(ours["fusion.gate"]) == 0  # it is AAVS until it is trained
    stock = {
        name.removeprefix("model."): v for name, v in state.items() if name.startswith("model.") and "adapt" not in name
    }
    stock["class_predictor.weight"] = torch.zeros(151, 64)  # other classes
    other, some = starting_ssp(1, checkpoint=stock)
    assert 0 < some < taken
    name = "model.model.pixel_level_module.encoder.embeddings.norm.weight"
    assert torch.equal(other.state_dict()[name], state[name])
    adapters = {n: v for n, v in other.state_dict().items() if "swin_adapt" in n and n.split(".")[-2] == "2"}
    assert adapters and all((v == 0).all() for v in adapters.values())  # Swin is what it was
    with pytest.raises(CheckpointError, match="shares 0 of"):
        starting_ssp(1, checkpoint={"encoder.weight": torch.zeros(3)})


def test_a_bert_of_the_users_is_gone_on_with(folder: Path) -> None:
    text = TextConfig(BERT, VISION_DIM)
    network, taken = starting_ssp(1, sizes=STAGE_1, text=text, text_encoder=folder / "bert")
    bert = load_file(folder / "bert" / "model.safetensors")
    ours = network.state_dict()
    assert taken > 10
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"):
        assert torch.equal(ours[f"align.text.{name}"], bert[name])


def test_what_does_not_go_together_is_said(texts: Encoders) -> None:
    network, _ = starting_ssp(1, sizes=STAGE_1)
    with pytest.raises(CoPropError, match="give both or none"):
        SspTraining(network, clips_of(texts), SspRule())
    with pytest.raises(CoPropError, match="network is of stage 1, the clips are labelled for stage 2"):
        SspTraining(network, clips_of(stage=2), SspRule())
    with pytest.raises(CoPropError, match="multiples of 32 px"):
        SspClips(Clips(), size=(40, 32), heard=heard, motion=MotionMasks(Dis()))
    for options in ({"pre_mask": "all"}, {"part": "swin"}, {"post_weight": -1.0}, {"second_phase": 2.0}):
        with pytest.raises(CoPropError):
            SspRule(**options)  # type: ignore[arg-type]


@pytest.mark.heavy
def test_from_the_shell_to_a_refined_clip(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`coprop train ssp` on made clips, stopped and gone on with; the adapter runs what it wrote."""
    monkeypatch.setitem(ssp_start.SMALL, "depths", (1, 1, 1, 1))
    torch.save(rule_state(VGGish), tmp_path / "vggish.pth")
    answers = {f"s4_{seed:06d}": ["a man is playing the piano", "piano."] for seed in range(3)}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    command = ["train", "ssp", "--sizes", "small", "--size", "64x64", "--data", "synth:s4:0-2", "--steps", "3"]
    command += ["--audio-checkpoint", str(tmp_path / "vggish.pth"), "--points", "64", "-o", str(tmp_path / "run")]
    command += ["--answers", str(tmp_path / "answers.json"), "--text-encoder", str(folder / "bert")]
    command += ["--vision-encoder", str(folder / "clip")]
    assert main([*command, "--budget-s", "0.001"]) == 0
    assert main([*command, "--json"]) == 0
    described = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert described["rule"]["post_weight"] == 10 and described["data"]["texts"][0].startswith("answers of")
    assert main(["checkpoint", "inspect", str(tmp_path / "run" / "weights.safetensors")]) == 0
    model = cp.build_adapter(
        "ssp",
        checkpoint=tmp_path / "run" / "weights.safetensors",
        audio_checkpoint=tmp_path / "vggish.pth",
        answers={"video": ["a man", "man"]},
        text_encoder=folder / "bert",
        vision_encoder=folder / "clip",
    )
    prediction = model.predict(clip_of(2, name="video"))
    assert prediction.frame(0).shape == (2, 224, 224)
    assert "pre-mask: flow" in prediction.notes[0] and "texts: vta" in prediction.notes[1]
    assert vggish_of(model.vggish, stage=1)(clip_of(2)).shape == (2, 128)  # type: ignore[attr-defined]
    assert isinstance(model.network, Ssp) and WORDS  # type: ignore[attr-defined]
