"""The published models at their published size, from checkpoint files to result folders (weights are made up)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import noise, rule_network, rule_state
from test_adapter_models_config import CONFIG

from coprop_plugin.adapters.avsegformer.adapter import AVSegFormerAdapter
from coprop_plugin.adapters.avsegformer.network import AVSegFormer
from coprop_plugin.adapters.base import build_adapter
from coprop_plugin.adapters.catr.network import Catr
from coprop_plugin.adapters.images import normalise
from coprop_plugin.adapters.tpavi.network import TpaviNet
from coprop_plugin.audio.vggish import VGGish, log_mel_examples
from coprop_plugin.cli.main import main
from coprop_plugin.structures import AVSBENCH_CLASSES, Clip, Sound, TimeBase

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def vggish() -> VGGish:
    return rule_network(VGGish)


def clip_of(num_frames: int, *, sound_s: float | None = None) -> Clip:
    seconds = num_frames if sound_s is None else sound_s
    samples = np.random.RandomState(3).uniform(-0.5, 0.5, round(seconds * 16000)).astype(np.float32)
    return Clip("noise", noise(num_frames, 224, 224, 3), Sound(samples, 16000), TimeBase.of("avsbench", num_frames))


def assert_near(ours: np.ndarray, expected: np.ndarray) -> None:
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.needs("data")
def test_avsegformer_from_files_to_a_result_folder(tmp_path: Path, data: Path) -> None:
    checkpoint, config, out = tmp_path / "model.pth", tmp_path / "config.py", tmp_path / "out"
    torch.save(rule_state(lambda: AVSegFormer(backbone="resnet50", classes=1)), checkpoint)
    config.write_text(CONFIG.format(backbone="res50", classes=1, queries=300, dataset="S4Dataset"))
    model = ["--adapter", "avsegformer", "--adapter-config", str(config), "--adapter-checkpoint", str(checkpoint)]
    video = str(data / "composed" / "o2_car_5s.mp4")
    assert main(["refine", video, *model, "-o", str(out), "--no-overlay", "--no-report"]) == 0
    assert len(list((out / "masks").rglob("*.png"))) == 5


def test_avsegformer_s4_sees_512_px_whatever_the_clip(vggish: VGGish) -> None:
    state = rule_state(lambda: AVSegFormer(backbone="resnet50", classes=1))
    adapter = build_adapter("avsegformer", checkpoint=state, variant="resnet50-s4")
    assert isinstance(adapter, AVSegFormerAdapter)
    clip = clip_of(1)  # the published code crashes on one frame
    prediction = adapter.predict(clip)
    assert (prediction.kind, prediction.scores.shape) == ("logit", (1, 2, 512, 512))
    assert_near(adapter.predict_frames(clip, [0])[0], prediction.frame(0))


def test_avsegformer_avss(vggish: VGGish) -> None:
    state = rule_state(lambda: AVSegFormer(backbone="resnet50", classes=71))
    adapter = build_adapter("avsegformer", checkpoint=state)
    clip = clip_of(3, sound_s=1.5)
    prediction = adapter.predict(clip)
    assert (prediction.class_ids, prediction.scores.shape) == (AVSBENCH_CLASSES, (3, 71, 224, 224))
    examples = np.concatenate([log_mel_examples(clip.sound.samples), np.zeros((2, 1, 96, 64), np.float32)])
    with torch.inference_mode():
        logits = adapter.network(normalise(clip.frames), torch.from_numpy(examples)).logits.numpy()  # type: ignore[attr-defined]
    for t in range(3):
        assert_near(prediction.frame(t), logits[t])


def test_tpavi_on_a_clip_longer_than_its_five_frames(vggish: VGGish) -> None:
    state = rule_state(lambda: TpaviNet(backbone="resnet50", classes=1))
    adapter = build_adapter("tpavi", checkpoint=state, audio_checkpoint=vggish, variant="resnet50-ms3")
    clip = clip_of(7)
    prediction = adapter.predict(clip)
    examples = [log_mel_examples(clip.sound.samples[:80000]), log_mel_examples(clip.sound.samples[80000:])]
    heard = vggish(torch.from_numpy(np.concatenate(examples)))
    with torch.inference_mode():
        first = adapter.network(normalise(clip.frames[:5]), heard[:5])  # type: ignore[attr-defined]
        last = adapter.network(normalise(clip.frames[2:]), heard[2:])  # type: ignore[attr-defined]
        five = adapter.network(normalise(clip.frames[[6] * 5]), heard[[6] * 5])  # type: ignore[attr-defined]
    for t in range(7):
        assert_near(prediction.frame(t)[1], (first[t] if t < 5 else last[t - 2])[0].numpy())
    assert_near(adapter.predict_frames(clip, [6])[6][1], five[0, 0].numpy())


def test_catr_on_one_frame_and_on_five(vggish: VGGish) -> None:
    adapter = build_adapter("catr", checkpoint=rule_state(Catr), audio_checkpoint=vggish)
    assert adapter.predict(clip_of(5)).frame(4).shape == (2, 224, 224)
    clip = clip_of(1)  # shown five times within its window: the same as alone
    whole, alone = adapter.predict(clip).frame(0), adapter.predict_frames(clip, [0])[0]
    assert np.abs(whole - alone).max() < 1e-3 * np.abs(whole).max()
