"""The learned control points: shipped weights, any sampling, long sounds, calibration, training that resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import sounds
import torch
from hypothesis import given, settings, strategies as st

from coprop_plugin.cli.main import main
from coprop_plugin.control_points import boundary
from coprop_plugin.control_points.boundary import WEIGHTS, Boundary, Heard, change_peaks, window_chances
from coprop_plugin.control_points.boundary_net import (
    FRAMES_PER_S,
    NUM_BANDS,
    BoundaryNet,
    contrasts,
    heard_frames,
    pooled,
    tone_contrasts,
)
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Clip, ControlPoints, Sound, TimeBase
from coprop_plugin.study.clips import composed_clips, sound_clips
from coprop_plugin.study.points import agreement
from coprop_plugin.training.boundary import (
    BoundaryTraining,
    beside_loss,
    best_threshold,
    calibration_error,
    change_losses,
    fitted_calibration,
)
from coprop_plugin.training.boundary_data import HeardSet, open_heard, states_of
from coprop_plugin.training.boundary_ear import HeardTwice, fit_ear
from coprop_plugin.training.boundary_varied import Tracks, mixture, recorded, spliced
from coprop_plugin.training.loop import train
from coprop_plugin.training.schedule import Schedule

EVENTS = Path(__file__).parent / "data/real_audio_events.json"


@pytest.fixture(scope="module")
def ear() -> Boundary:
    return Boundary()


def listed(points: ControlPoints) -> list[tuple[int, bool | None]]:
    return [(segment.start, segment.silent) for segment in points.segments()]


# What it hears


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("low", 5)], [(0, False)]),
        ([("none", 2), ("low", 3)], [(0, True), (2, False)]),
        ([("low", 3), ("noise", 4), ("none", 3)], [(0, False), (3, False), (7, True)]),
        ([("low", 4), ("low+noise", 6)], [(0, False), (4, False)]),
        ([("none", 5)], [(0, True)]),
    ],
    ids=["steady", "late start", "two sources and none", "one more", "nothing"],
)
def test_plain_changes(ear: Boundary, pieces: list, expected: list) -> None:
    points = ear(sounds.clip(pieces))
    assert listed(points) == expected and points.origin.generator == "boundary"
    assert points.confidence is None or points.confidence.min() > 0.5


@pytest.mark.parametrize("down_db", [0, 20, 45])
def test_loudness_does_not_matter(ear: Boundary, down_db: float) -> None:
    loud = sounds.sound([("none", 2), ("low", 3), ("noise", 3), ("none", 2)])
    quiet = Sound(loud.samples * np.float32(10 ** (-down_db / 20)), loud.rate_hz)
    assert listed(ear(clip_of_sound(quiet))) == listed(ear(clip_of_sound(loud)))


def test_the_loudest_moment_is_never_silent(ear: Boundary) -> None:
    """One short sound in a long pause, and files that are one short event."""
    for pieces in ([("none", 2.2), ("noise", 0.2), ("none", 2.6)], [("noise", 0.3)], [("low", 0.2), ("none", 5)]):
        points = ear(sounds.clip(pieces))
        assert points.silent is not None and not all(points.silent)


def test_fine_windows_get_fine_times(ear: Boundary) -> None:
    pieces = [("low", 1.48), ("none", 1.4), ("noise", 2.32)]
    for sampling, rate in (("uniform:25", 25), ("uniform:10", 10)):
        found = ear(sounds.clip(pieces, sampling=sampling)).frames
        assert len(found) == 3 and np.abs(np.array(found) / rate - [0, 1.48, 2.88]).max() <= 1.5 / rate


def test_stretches_equal_the_whole(ear: Boundary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sound = sounds.sound([("low", 9), ("high", 11), ("none", 5), ("noise", 8), ("low", 7)], bed_db=-60)
    whole = ear.hear(sound, 40.0)
    sound.samples.tofile(tmp_path / "sound.f32")
    mapped = Sound(np.memmap(tmp_path / "sound.f32", np.float32, "r"), sound.rate_hz)
    for stretch_s in (7.0, 12.5):
        monkeypatch.setattr(boundary, "STRETCH_S", stretch_s)
        for heard in (ear.hear(sound, 40.0), ear.hear(mapped, 40.0)):
            assert np.abs(heard.change - whole.change).max() < 0.02
            assert np.abs(heard.silence - whole.silence).max() < 0.02


def test_the_context_of_a_stretch_is_all_that_the_network_sees() -> None:
    torch.manual_seed(0)
    net = BoundaryNet().eval()
    mel = torch.randn(1, 400, NUM_BANDS).mul(10).sub(30).requires_grad_()
    net(mel)[0, 200].sum().backward()
    assert mel.grad is not None
    slope = mel.grad[0].abs().sum(dim=1).numpy()
    seen = np.flatnonzero(slope > 1e-4 * slope.max())  # differences of long sums leave rounding
    assert max(200 - seen[0], seen[-1] - 200) <= boundary.CONTEXT_S * FRAMES_PER_S


def test_contrasts_are_nothing_where_nothing_changes() -> None:
    steady = torch.full((1, 100, 40), -20.0)
    found = contrasts(steady)[..., 41:]
    assert found.abs().max() < 1e-4
    tones = torch.full((1, 100, 66), -20.0)
    assert tone_contrasts(tones)[..., 66:].abs().max() < 1e-4
    steady[:, 50:] = -40
    assert contrasts(steady)[0, 50, 41:].max() > 0.5 and contrasts(steady)[0, 0, 41:].abs().max() < 1e-4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-8, 4), min_size=30, max_size=60), st.sampled_from(["uniform:1", "uniform:2", "uniform:4"]))
def test_the_chance_of_a_window_adds_up_odds(logits: list[float], sampling: str) -> None:
    change = np.array(logits)
    heard = Heard(change, change, change)
    rate = float(sampling.partition(":")[2])
    time_base = TimeBase.of(sampling, max(1, int(len(logits) / FRAMES_PER_S * rate)))
    chances = window_chances(heard, time_base)
    middles = np.rint(time_base.sound_window_s.mean(axis=1) * FRAMES_PER_S).astype(int)
    if len(middles) > 1:
        wanted = pooled(torch.tensor(change)[None], torch.tensor(middles))[0].sigmoid().numpy()
        assert np.allclose(chances[1:], wanted, atol=1e-6)
    assert chances[0] == 1


def test_peaks_are_apart_and_where_the_odds_are() -> None:
    change = np.full(100, -9.0)
    change[[20, 21, 60]] = [2.0, 2.0, 3.0]
    times_s, _ = change_peaks(Heard(change, change, change), threshold=0.5)
    assert np.allclose(times_s, [20.5 / FRAMES_PER_S, 60 / FRAMES_PER_S], atol=0.02)
    assert all(b - a > boundary.PEAK_S for a, b in pairwise(times_s))
    assert not len(change_peaks(Heard(np.full(50, -9.0), change, change), threshold=0.5)[0])


def test_shipped_weights_are_small_and_have_a_card() -> None:
    assert WEIGHTS.stat().st_size < 2_000_000
    card = WEIGHTS.with_suffix(".md").read_text()
    assert all(word in card for word in ("Data", "Seeds", "Numbers", "Licence"))


@pytest.mark.needs("data")
def test_real_recordings(ear: Boundary, data: Path) -> None:
    """A floor under what was measured when the weights were made; these were not trained on, nor anything chosen by them."""
    recordings = agreement(ear, sound_clips(data / "real/audio", EVENTS))
    assert recordings["F1@0"] >= 0.67 and recordings["F1@1"] >= 0.71
    assert agreement(ear, composed_clips(data / "composed"))["F1@0"] >= 0.93


def test_bad_options_are_told(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="threshold of a probability"):
        Boundary(threshold=1.0)
    torch.save({"first.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(CoPropError, match="does not fit BoundaryNet"):
        Boundary(weights=tmp_path / "a.pth")(sounds.clip([("low", 2)]))


@pytest.mark.parametrize("flag", ["--calibrate", "--yamnet"])
def test_what_is_asked_for_after_a_training_is_checked_before_it(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--data", "synth:moc:0-3", flag, "nope", "--steps", "1", "--batch", "2", "-o", str(out)]
    assert main(["train", "control-points", *given]) == 2
    assert "got 'nope'" in capsys.readouterr().err and not out.exists()


# Training


class Toys:
    """A tone that another one follows somewhere, as tracks."""

    num_items = 8

    def tracks(self, index: int) -> Tracks:
        levels = np.full((3, 200, NUM_BANDS), -90, np.float32)
        at = 60 + 10 * index
        levels[0, :at, 5:15], levels[1, at:, 25:35], levels[2] = -10, -10, -60
        states = np.zeros((3, 200), np.uint8)
        states[0, :at], states[1, at:] = 1, 2
        return Tracks(levels, states)


def test_training_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    schedule = Schedule(steps=30, batch=4, learning_rate=3e-3, save_every=10)
    lines: list[float] = []
    train(
        BoundaryTraining(Toys()), tmp_path / "a", schedule=schedule, on_step=lambda _, line: lines.append(line["loss"])
    )
    assert np.mean(lines[-5:]) < 0.7 * np.mean(lines[:5])
    train(BoundaryTraining(Toys()), tmp_path / "b", schedule=schedule, budget_s=1e-9)
    train(BoundaryTraining(Toys()), tmp_path / "b", schedule=schedule)
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()


def test_losses_ask_whether_the_ends_of_windows_differ() -> None:
    states = torch.ones(1, 200, dtype=torch.uint8)
    states[:, 100:] = 2
    sure = torch.full((1, 200), -20.0)
    sure[:, 100] = 20
    wrong = torch.roll(sure, 50, dims=1)
    for offset in (0, 7, 19):
        assert all(loss < 1e-6 for loss in change_losses(sure, states, offset).values())
        assert all(loss > 1e-2 for loss in change_losses(wrong, states, offset).values())


def test_what_is_asked_beside() -> None:
    """How many sound, who joins and who leaves: sure and right costs nothing, anything else does."""
    states = torch.ones(1, 200, dtype=torch.uint8)
    states[:, 100:] = 3
    sure = torch.full((1, 200, 6), -20.0)
    sure[:, :100, 1], sure[:, 100:, 2], sure[:, 100, 4] = 20, 20, 20
    assert beside_loss(sure, states, 3) < 1e-6
    for wrong in (sure.roll(50, dims=1), sure[..., [0, 1, 2, 3, 5, 4]], sure.roll(1, dims=2)):
        assert beside_loss(wrong, states, 3) > 1e-2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_what_training_varies_keeps_its_form(seed: int) -> None:
    rng, toys = np.random.default_rng(seed), Toys()
    pairs = [mixture(toys.tracks(i), lambda: toys.tracks(int(rng.integers(8))), rng) for i in range(4)]
    heard, states = np.stack([heard for heard, _ in pairs]), np.stack([told for _, told in pairs])
    varied, sets = spliced(heard, states, rng)
    noisy = recorded(varied, rng)
    assert noisy.shape == (4, 200, NUM_BANDS) and np.isfinite(noisy).all() and noisy.dtype == np.float32
    assert noisy.min() >= -70 and states.max() < 16
    for before, after in zip(states, sets, strict=True):
        cut = np.flatnonzero(after != before)
        assert not len(cut) or (after[cut[0] :] & 15 == 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_mixture_is_heard_where_its_sources_are(seed: int) -> None:
    """Of tracks that stand far above the noise, a frame is loud exactly where its state has a source."""
    rng, toys = np.random.default_rng(seed), Toys()
    heard, states = mixture(toys.tracks(3), lambda: toys.tracks(5), rng)
    loud = heard[:, :40].max(axis=1)
    if (states > 0).any() and (states == 0).any():
        assert loud[states > 0].min() > loud[states == 0].max()
    # The two loudest cells have 0 dB in their mean: a band of 40 has a fortieth of that at least, a frame of four all of it.
    assert -10 * np.log10(40) <= heard[:, :40].max() <= 10 * np.log10(4)


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    chances = rng.random(20_000)
    happened = rng.random(20_000) < chances
    assert calibration_error(chances, happened) < 0.02 < calibration_error(chances**3, happened)
    logits = torch.from_numpy(np.log(chances / (1 - chances))).float()
    scale, shift = fitted_calibration((logits - 1) / 2, torch.from_numpy(happened).float())
    assert scale == pytest.approx(2, abs=0.1) and shift == pytest.approx(1, abs=0.1)


def test_the_best_threshold() -> None:
    chances, happened = np.array([0.1, 0.2, 0.35, 0.6, 0.9]), np.array([0, 0, 1, 1, 1])
    threshold, f1 = best_threshold(chances, happened)
    assert 0.2 <= threshold < 0.35 and f1 == 1
    assert best_threshold(chances, np.array([0, 1, 0, 0, 1]))[1] == pytest.approx(2 / 3)


def test_an_ear_is_fitted_alone_and_the_same_every_time() -> None:
    torch.manual_seed(1)
    states = torch.ones(60, 200, dtype=torch.uint8)
    contrasts = torch.randn(60, 200, 9) * 0.1
    for i, at in enumerate(torch.randint(40, 160, (60,)).tolist()):
        states[i, at:] = 2
        contrasts[i, at - 3 : at + 3] += 2
    heard, fitted = HeardTwice(torch.full((60, 200), -4.0), contrasts, states), []
    for _ in range(2):
        torch.manual_seed(0)
        net = BoundaryNet()
        first = net.first.weight.clone()
        fit_ear(net, heard)
        assert torch.equal(net.first.weight, first)
        logits, changed = heard.second_logits(net)
        fitted.append(logits)
        assert logits[changed > 0].mean() > logits[changed == 0].mean() + 2
    assert torch.equal(*fitted)


def test_states_of_sources() -> None:
    states = states_of([np.array([[0.0, 1.0]]), np.array([[0.5, 2.0], [3.0, 4.0]])], 100)
    assert states[[0, 15, 30, 50, 70, 90]].tolist() == [1, 3, 2, 0, 2, 0]


def test_sets_of_clips(tmp_path: Path) -> None:
    source = open_heard(["synth:moc:3-5", "synth:moc:9-9"])
    assert source.num_items == 4
    heard, states = source.item(3)
    again, _ = HeardSet(made_clips("synth:moc:9-9")).item(0)
    assert heard.shape == (200, NUM_BANDS) and len(np.unique(states)) > 2 and np.array_equal(heard, again)
    tracks = source.tracks(3)
    assert tracks.decibels.shape == (2, 200, NUM_BANDS) and np.array_equal(tracks.states[0], states)
    with pytest.raises(CoPropError, match="made clips are named"):
        open_heard(["synth:moc"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", "synth:moc:0-3", "--steps", "2", "--batch", "2", "--json", "-o", str(tmp_path)]
    assert main(["train", "control-points", *flags]) == 0
    assert '"finished": true' in capsys.readouterr().out
    assert main(["train", "control-points", *flags, "--calibrate", "synth:moc:4-7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 0 < told["validation"]["threshold"] < 1 and 0 <= told["validation"]["calibration_error"] <= 1
    made = Boundary(weights=tmp_path / "weights.safetensors", threshold=0.5)
    assert len(made(sounds.clip([("low", 3)]))) == 3


def test_frames_are_the_mean_power_above_the_loudest() -> None:
    sound = sounds.sound([("low", 2)])
    mel = heard_frames(sound, start=0, stop=40, loudest_dbfs=-20)
    louder = replace(sound, samples=sound.samples * np.float32(2))
    assert np.allclose(heard_frames(louder, start=0, stop=40, loudest_dbfs=-20 + 20 * np.log10(2)), mel, atol=0.01)
    assert np.allclose(heard_frames(sound, start=10, stop=20, loudest_dbfs=-20), mel[10:20])


def test_what_follows_the_windows_is_not_answered_for(ear: Boundary) -> None:
    clip = sounds.clip([("low", 4), ("noise", 1)])
    cut = Clip("cut", np.zeros((4, 1, 1, 3), np.uint8), clip.sound, sounds.clip([("low", 4)]).time_base)
    assert ear(cut).frames == (0,)
