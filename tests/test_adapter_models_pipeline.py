"""The published pipelines around the networks: sound windows, frame windows, modes, and whole adapters from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, strategies as st
from rule_weights import noise, rule_state
from torch import Tensor, nn

from coprop_plugin.adapters.aavs.adapter import AavsAdapter
from coprop_plugin.adapters.aavs.network import Aavs, AavsConfig
from coprop_plugin.adapters.base import build_adapter
from coprop_plugin.adapters.images import normalise, resize_bilinear
from coprop_plugin.adapters.published import Batch, PublishedAdapter, windows
from coprop_plugin.adapters.sound import SecondExamples
from coprop_plugin.adapters.tpavi.adapter import TpaviAdapter
from coprop_plugin.adapters.tpavi.network import TpaviNet
from coprop_plugin.audio.vggish import VGGish, log_mel_examples
from coprop_plugin.errors import CheckpointError, CoPropError, PredictionError
from coprop_plugin.layers.mask2former import class_scores
from coprop_plugin.media.sound import read_track
from coprop_plugin.structures import AVSBENCH_CLASSES, Clip, Prediction, Sound, TimeBase

RATE_HZ = 16000


def clip_of(num_frames: int, *, sampling: str = "avsbench", sound_s: float | None = None, size: int = 40) -> Clip:
    time_base = TimeBase.of(sampling, num_frames)
    seconds = time_base.duration_s if sound_s is None else sound_s
    samples = np.random.RandomState(3).uniform(-0.5, 0.5, round(seconds * RATE_HZ)).astype(np.float32)
    return Clip("noise", noise(num_frames, size, size + 8, 3), Sound(samples, RATE_HZ), time_base)


# sound


def test_a_published_clip_is_heard_as_published() -> None:
    clip = clip_of(5)
    examples = SecondExamples(clip, stretch_s=5, missing="repeat").of(range(5))
    np.testing.assert_array_equal(examples, log_mel_examples(clip.sound.samples))


@pytest.mark.parametrize("stretch_s", [5, 10])
def test_a_longer_clip_is_heard_in_stretches(stretch_s: int) -> None:
    clip = clip_of(23)
    examples = SecondExamples(clip, stretch_s=stretch_s, missing="repeat").of(range(23))
    for start in range(0, 23, stretch_s):
        piece = clip.sound.samples[start * RATE_HZ : (start + stretch_s) * RATE_HZ]
        expected = log_mel_examples(piece)
        np.testing.assert_array_equal(examples[start : start + stretch_s], expected)


@pytest.mark.parametrize(("missing", "filled"), [("repeat", 2), ("zero", None)])
def test_a_sound_shorter_than_the_frames(missing, filled: int | None) -> None:
    clip = clip_of(5, sound_s=3.3)
    examples = SecondExamples(clip, stretch_s=5, missing=missing).of(range(5))
    real = log_mel_examples(clip.sound.samples)
    assert len(real) == 3
    np.testing.assert_array_equal(examples[:3], real)
    for t in (3, 4):
        np.testing.assert_array_equal(examples[t], real[filled] if filled is not None else np.zeros((1, 96, 64)))


def test_zeros_behind_a_recording_are_no_sound_but_recorded_silence_is(tmp_path: Path) -> None:
    """A reader fills short sound up to the frames' length; the published rule for its end still applies."""
    soundfile.write(tmp_path / "short.wav", clip_of(5, sound_s=3.3).sound.samples, RATE_HZ, subtype="FLOAT")
    track = read_track(tmp_path / "short.wav", duration_s=5.0)
    assert len(track.sound.samples) == 5 * RATE_HZ
    for missing in ("repeat", "zero"):
        filled = SecondExamples(replace(clip_of(5), sound=track.sound), stretch_s=5, missing=missing).of(range(5))
        ended = SecondExamples(clip_of(5, sound_s=3.3), stretch_s=5, missing=missing).of(range(5))
        np.testing.assert_array_equal(filled, ended)
    silent = replace(track.sound, ends=None)  # the same samples, all of them recorded
    heard = SecondExamples(replace(clip_of(5), sound=silent), stretch_s=5, missing="repeat").of([4])
    np.testing.assert_allclose(heard, np.log(0.01), rtol=1e-6)


@pytest.mark.parametrize("rate_hz", [16000, 48000])
@pytest.mark.parametrize("sound_s", [0.0, 0.005, 0.5])
def test_a_stretch_without_a_whole_example_is_filled_with_silence(sound_s: float, rate_hz: int) -> None:
    clip = clip_of(5, sound_s=sound_s)
    clip = replace(clip, sound=replace(clip.sound, rate_hz=rate_hz))
    examples = SecondExamples(clip, stretch_s=5, missing="repeat").of([0, 4])
    np.testing.assert_array_equal(examples[0], examples[1])
    np.testing.assert_allclose(examples[0, 0, -1], np.log(0.01), rtol=1e-6)


def test_frames_of_one_second_share_its_example() -> None:
    clip = clip_of(12, sampling="uniform:4")
    examples = SecondExamples(clip, stretch_s=5, missing="repeat")
    by_second = SecondExamples(
        replace(clip, frames=clip.frames[:3], time_base=TimeBase.of("avsbench", 3)), stretch_s=5, missing="repeat"
    )
    np.testing.assert_array_equal(examples.of(range(12)), by_second.of([0] * 4 + [1] * 4 + [2] * 4))


# windows and modes


@given(num_frames=st.integers(1, 60), together=st.integers(1, 12))
def test_windows_cover_every_frame_in_order(num_frames: int, together: int) -> None:
    found = list(windows(num_frames, together))
    assert {t for window in found for t in window} == set(range(num_frames))
    assert all(len(window) == together and window == sorted(window) for window in found)
    for t in range(num_frames):
        assert t in found[t // together]


class Mean(PublishedAdapter):
    """A model whose frames see each other: the mean of a window's frames and sounds, on every pixel."""

    name = "mean"
    frame_equals_clip = False
    together = 3
    size = score_size = (4, 6)

    def __init__(self, **options) -> None:
        super().__init__(nn.Identity(), **options)
        self.windows: list[list[int]] = []
        self.batches: list[Batch] = []

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        group = 1 if alone else self.together
        self.batches.append(batch)
        for start in range(0, len(batch.places), group):
            self.windows.append([t for _, t in batch.places[start : start + group]])
        means = (batch.frames.mean((1, 2, 3)) + batch.examples.mean((1, 2, 3))).unflatten(0, (-1, group)).mean(1)
        return means.repeat_interleave(group)[:, None, None, None].expand(-1, 1, 4, 6)


@pytest.mark.parametrize("batch_frames", [None, 1, 6, 100])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 9])
def test_windows_are_run_once_and_in_any_order(num_frames: int, batch_frames: int | None) -> None:
    clip = clip_of(num_frames)
    adapter, in_order = Mean(batch_frames=batch_frames), Mean()
    prediction, expected = adapter.predict(clip), in_order.predict(clip)
    assert (prediction.kind, prediction.scores.shape) == ("logit", (num_frames, 2, 4, 6))
    backwards = [prediction.frame(t) for t in reversed(range(num_frames))][::-1]
    again = [prediction.frame(t) for t in range(num_frames)]
    assert sorted(adapter.windows) == sorted(windows(num_frames, 3))
    for t in range(num_frames):
        np.testing.assert_array_equal(backwards[t], again[t])
        np.testing.assert_allclose(backwards[t], expected.frame(t), rtol=1e-5, atol=1e-6)
        assert not backwards[t][0].any()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("batch_frames", [3, 6, 9])
def test_clips_share_batches_and_stay_apart(batch_frames: int, padded: bool) -> None:
    clips = [replace(clip_of(t), clip_id=f"of {t}") for t in (4, 1, 7)]
    adapter = Mean(batch_frames=batch_frames)
    adapter.padded = padded
    apart = [adapter.predict(clip) for clip in clips]
    expected = [[p.frame(t) for t in range(p.num_frames)] for p in apart]
    adapter.batches.clear()
    together = adapter.predict_clips(clips)
    for number in (2, 0, 1):
        for t in reversed(range(clips[number].num_frames)):
            np.testing.assert_allclose(together[number].frame(t), expected[number][t], rtol=1e-5, atol=1e-6)
    assert sum(len(batch.places) for batch in adapter.batches) == 3 * (2 + 1 + 3)  # every window once
    assert len(adapter.batches) == -(-6 // (batch_frames // 3))  # and batches are full


def test_a_padded_window_shows_nothing_beyond_the_clip() -> None:
    adapter = Mean()
    adapter.padded = True
    adapter.predict(clip_of(4)).frame(3)
    (batch,) = adapter.batches
    assert [t for _, t in batch.places] == [3, 4, 5]
    assert batch.flag.tolist() == [1, 0, 0]
    assert batch.frames[0].any() and not batch.frames[1:].any()
    assert batch.examples[0].any() and not batch.examples[1:].any()


def test_a_short_avss_clip_is_padded_as_its_loader_pads_it(vggish: VGGish) -> None:
    """Ten places in two groups of five; the padding takes part in the second group's sums, as published."""
    state = rule_state(lambda: TpaviNet(backbone="resnet50", classes=71))
    adapter = build_adapter("tpavi", checkpoint=state, audio_checkpoint=vggish)
    assert isinstance(adapter, TpaviAdapter)
    adapter.size = adapter.score_size = (64, 64)
    clip = clip_of(7, sound_s=6.5)  # the last frame is real, its example is the zeros of the loader
    flag = torch.tensor([1.0] * 7 + [0.0] * 3)
    examples = np.zeros((10, 1, 96, 64), np.float32)
    heard = log_mel_examples(clip.sound.samples)
    examples[: len(heard)] = heard
    with torch.inference_mode():
        frames = normalise(resize_bilinear(clip.frames, (64, 64)))
        audio = vggish(torch.from_numpy(examples)) * flag[:, None]
        published = adapter.network(torch.cat([frames, torch.zeros(3, 3, 64, 64)]), audio, flag=flag)
        looking_back = adapter.network(frames[2:], audio[2:7])
    prediction = adapter.predict(clip)
    assert len(heard) == 6
    for t in range(7):
        np.testing.assert_allclose(prediction.frame(t), published[t].numpy(), rtol=1e-4, atol=1e-4)
    assert np.abs(looking_back[4] - published[6]).max() > 1e-2


def test_a_frame_alone_is_a_clip_of_its_own() -> None:
    clip, adapter = clip_of(7), Mean()
    alone = adapter.predict_frames(clip, [5, 2])
    assert list(alone) == [5, 2]
    assert adapter.windows == [[5], [2]]
    assert not np.allclose(alone[2], adapter.predict(clip).frame(2), atol=1e-3)
    with pytest.raises(CoPropError, match=r"has the frames \[0, 7\); asked for \[7\]"):
        adapter.predict_frames(clip, [7])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "unknown precision 'float8'. Allowed: float32, bfloat16"),
        ({"batch_frames": -1}, "at least 1; got -1"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        Mean(**options)


# whole adapters, from files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small AAVS of both stages in two of the containers that training scripts write, and VGGish."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save(rule_state(VGGish), folder / "vggish.pth")
    torch.save({"model": rule_state(lambda: Aavs(STAGE_1)), "optimizer": {"lr": 1.0}}, folder / "stage1.pth")
    second = rule_state(lambda: Aavs(STAGE_2))
    torch.save({f"module.{name}": value for name, value in second.items()}, folder / "stage2.pth")
    return folder


SMALL = {
    "embed_dim": 32,
    "depths": (1, 1, 2, 1),
    "heads": (1, 2, 4, 8),
    "window": 4,
    "encoder_layers": 1,
    "encoder_hidden": 64,
    "decoder_layers": 3,
    "decoder_hidden": 64,
}
STAGE_1 = AavsConfig(stage=1, queries=10, classes=2, **SMALL)
STAGE_2 = AavsConfig(stage=2, queries=12, classes=71, **SMALL)


@pytest.fixture(scope="module")
def vggish(files: Path) -> VGGish:
    return VGGish.load(files / "vggish.pth")


@pytest.fixture(scope="module")
def first(files: Path) -> AavsAdapter:
    return build_adapter("aavs", checkpoint=files / "stage1.pth", audio_checkpoint=files / "vggish.pth")  # type: ignore[return-value]


def test_aavs_stage_1_is_its_network_in_its_pipeline(first: AavsAdapter) -> None:
    clip = clip_of(2)
    prediction = first.predict(clip)
    assert (first.variant.name, prediction.kind, prediction.scores.shape) == ("stage1", "logit", (2, 2, 224, 224))
    with torch.inference_mode():
        examples = torch.from_numpy(log_mel_examples(clip.sound.samples))
        features = first.vggish.features(examples).permute(0, 2, 3, 1).flatten(1)
        heard = first.vggish.embeddings[:5](features)  # before the last ReLU
        output = first.network(normalise(resize_bilinear(clip.frames, (384, 384))), heard)
        scores = class_scores(output, (384, 384)).numpy()
    for t in range(2):
        np.testing.assert_array_equal(prediction.label_map(t), scores[t].argmax(0))
        np.testing.assert_allclose(prediction.frame(t)[1], 2 * scores[t, 1] - scores[t, 0], rtol=1e-3, atol=1e-3)


def test_frames_of_aavs_alone_and_in_the_clip(first: AavsAdapter) -> None:
    clip = clip_of(6)
    alone = first.predict_frames(clip, [5])[5]
    np.testing.assert_allclose(alone, first.predict(clip).frame(5), rtol=1e-4, atol=1e-4)
    assert first.frame_equals_clip


def test_aavs_stage_2_takes_its_first_stage_from_anywhere(files: Path, first: AavsAdapter, vggish: VGGish) -> None:
    clip = clip_of(1)
    options = {"checkpoint": files / "stage2.pth", "audio_checkpoint": vggish}
    masks = first.predict(clip)
    from_file = build_adapter("aavs", first_stage=files / "stage1.pth", **options).predict(clip)
    assert (from_file.kind, from_file.class_ids) == ("probability", AVSBENCH_CLASSES)
    assert from_file.names[70] == "woman"
    np.testing.assert_allclose(from_file.frame(0).sum(0), 1, rtol=1e-5)
    for source in (masks, first, Prediction.from_labels(masks.label_maps())):
        given_masks = build_adapter("aavs", first_stage=source, **options).predict(clip)
        np.testing.assert_array_equal(given_masks.frame(0), from_file.frame(0))
    other = Prediction.from_labels(1 - masks.label_maps()[:])
    assert not np.allclose(
        build_adapter("aavs", first_stage=other, **options).predict(clip).frame(0), from_file.frame(0)
    )
    with pytest.raises(PredictionError, match="1 frames, but clip 'noise' has 3"):
        build_adapter("aavs", first_stage=masks, **options).predict(clip_of(3)).frame(0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": None}, CheckpointError, "'aavs' needs checkpoint=FILE"),
        ({"audio_checkpoint": None}, CheckpointError, r"'aavs' needs audio_checkpoint=FILE.*vggish-10086976\.pth"),
        ({"audio_checkpoint": "stage1.pth"}, CheckpointError, "does not fit VGGish.*look like the weights of aavs"),
        ({"checkpoint": "vggish.pth"}, CheckpointError, "does not fit Aavs.*look like the weights of vggish"),
        ({"checkpoint": "nothing.pth"}, CheckpointError, "no weights file at"),
        ({"checkpoint": "stage2.pth"}, CoPropError, "stage 2 of aavs needs first_stage="),
        ({"checkpoint": "stage2.pth", "first_stage": "none.pth"}, CheckpointError, "no file or folder at"),
        ({"first_stage": "stage1.pth"}, CoPropError, "this checkpoint is stage 1"),
        ({"variant": "stage2"}, CheckpointError, "11 missing .*out_proj"),
        ({"variant": "stage3"}, CoPropError, "unknown variant of aavs 'stage3'"),
        ({"features": "relu6"}, CoPropError, "features is one of linear, relu"),
        ({"colour": "red"}, CoPropError, "has no option 'colour'"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    files: Path, vggish: VGGish, options: dict, error: type, message: str
) -> None:
    options = {"checkpoint": "stage1.pth", "audio_checkpoint": vggish} | options
    paths = {key: files / value if str(value).endswith(".pth") else value for key, value in options.items()}
    with pytest.raises(error, match=message):
        build_adapter("aavs", **paths)


@pytest.mark.parametrize("name", ["tpavi", "catr"])
def test_without_vggish_nothing_is_run(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"the adapter '{name}' needs audio_checkpoint=FILE"):
        build_adapter(name, checkpoint="model.pth")


@pytest.mark.parametrize("name", ["avsegformer", "tpavi", "catr"])
def test_other_models_are_named(name: str, files: Path, vggish: VGGish) -> None:
    options = {} if name == "avsegformer" else {"audio_checkpoint": vggish}
    with pytest.raises(CheckpointError, match="look like the weights of aavs"):
        build_adapter(name, checkpoint=files / "stage1.pth", **options)
