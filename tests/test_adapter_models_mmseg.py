"""mmsegmentation's models as adapters: the same scores as its own inference, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import noise, rule_entry

from coprop_plugin.adapters.base import build_adapter
from coprop_plugin.adapters.mmseg import build_segmentor, default_classes
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.openmmlab import MissingOperators, installed_path, is_installed
from coprop_plugin.structures import AVSBENCH_CLASSES, Clip, Sound, TimeBase

CONFIG = """
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=64, channels=8, num_convs=1, concat_input=False, num_classes=2,
        {more} norm_cfg=norm_cfg, align_corners=False),
    test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def model_files(folder: Path, more: str = "") -> dict[str, Path]:
    """A small model's config and checkpoint, the latter with the baggage of mmengine."""
    config, checkpoint = folder / "config.py", folder / "model.pth"
    config.write_text(CONFIG.format(more=more))
    state = build_segmentor(config, torch.device("cpu")).state_dict()
    torch.save(
        {
            "meta": {"dataset_meta": {"classes": ("a", "b")}},
            "state_dict": {k: rule_entry(k, v) for k, v in state.items()},
        },
        checkpoint,
    )
    return {"config": config, "checkpoint": checkpoint}


@pytest.fixture
def clip() -> Clip:
    return Clip("noise", noise(3, 40, 56, 3), Sound.silence(3.0), TimeBase.of("avsbench", 3))


def test_scores_are_those_of_mmseg(tmp_path: Path, clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    files = model_files(tmp_path)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        adapter = build_adapter("mmseg", **files)
    from mmseg.apis import inference_model  # only now: it needs what the adapter prepares

    assert caplog.messages[0] == f"mmseg: running the config '{files['config']}' as Python code"
    prediction = adapter.predict(clip)
    assert (prediction.kind, prediction.class_ids, prediction.scores.shape) == ("logit", (1,), (3, 2, 40, 56))

    segmentor = build_segmentor(files["config"], torch.device("cpu"))
    segmentor.load_state_dict(torch.load(files["checkpoint"], weights_only=True)["state_dict"])
    for t in (2, 0):
        own = inference_model(segmentor, np.ascontiguousarray(clip.frames[t][..., ::-1]))
        np.testing.assert_allclose(prediction.frame(t), own.seg_logits.data.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(prediction.label_map(t), own.pred_sem_seg.data[0].numpy())
    np.testing.assert_array_equal(adapter.predict_frames(clip, [1])[1], prediction.frame(1))


def test_one_channel_has_its_own_threshold(tmp_path: Path, clip: Clip) -> None:
    adapter = build_adapter("mmseg", **model_files(tmp_path, "out_channels=1, threshold=0.3,"))
    prediction = adapter.predict(clip)
    assert prediction.kind == "probability"
    foreground = prediction.frame(0)[1]
    np.testing.assert_array_equal(prediction.label_map(0), foreground > 0.3)
    assert ((foreground > 0.3) != (foreground > 0.5)).any()


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    files = model_files(tmp_path)
    with pytest.raises(CheckpointError, match="needs config=FILE and checkpoint=FILE"):
        build_adapter("mmseg", checkpoint=files["checkpoint"])
    with pytest.raises(CoPropError, match="no config file at"):
        build_adapter("mmseg", checkpoint=files["checkpoint"], config=tmp_path / "none.py")
    with pytest.raises(CoPropError, match=r"2 channels, class_ids names 2 classes"):
        build_adapter("mmseg", **files, class_ids=(1, 2))
    files["config"].write_text("model = dict(type='NoSuchModel')")
    with pytest.raises(CoPropError, match=r"builds no model from .*NoSuchModel"):
        build_adapter("mmseg", **files)


def test_classes_of_channels() -> None:
    assert default_classes(1) == default_classes(2) == (1,)
    assert default_classes(5) == (1, 2, 3, 4)
    assert default_classes(71) == AVSBENCH_CLASSES


def test_where_packages_are() -> None:
    assert is_installed("mmsegmentation") and is_installed("mmseg") and not is_installed("no_such_package")
    assert Path(installed_path("mmsegmentation")).name == Path(installed_path("mmseg")).name == "mmseg"
    assert Path(installed_path("coprop_plugin")).name == "coprop_plugin"
    with pytest.raises(ModuleNotFoundError):
        installed_path("no_such_package")


def test_missing_operators_say_so_when_they_are_called() -> None:
    operators = MissingOperators("mmcv._ext")
    assert hasattr(operators, "nms") and not hasattr(operators, "__path__")
    with pytest.raises(NotImplementedError, match="compiled operator 'psamask_forward'"):
        operators.psamask_forward(1)
