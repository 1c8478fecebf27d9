"""AVSegFormer's config files are read, never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from coprop_plugin.adapters.avsegformer.config import read_config, variant_of_config
from coprop_plugin.errors import CoPropError

CONFIG = """
'''A config in the published form.'''
layer = dict(dim=256, ffn_dim=2048, dropout=0.1)
model = dict(
    type='AVSegFormer',
    neck=None,
    backbone=dict(type='{backbone}', init_weights_path='pretrained/x.pth'),
    vggish=dict(freeze_audio_extractor=True, postprocess_log_mel_with_pca=False),
    head=dict(
        type='AVSegHead',
        in_channels=[64, 128, 320, 512],
        num_classes={classes},
        query_num={queries},
        use_learnable_queries=True,
        fusion_block=dict(type='CrossModalMixer'),
        positional_encoding=dict(type='SinePositionalEncoding', num_feats=128),
        transformer=dict(
            type='AVSTransformer',
            encoder=dict(num_layers=6, layer=layer),
            decoder=dict(num_layers=6, layer={{'dim': 256, 'ffn_dim': 2048}}))),
    audio_dim=128,
    embed_dim=256,
    T=5)
dataset = dict(test=dict(type='{dataset}', img_size=(224, 224), batch_size=4))
optimizer = dict(type='AdamW', lr=2e-5, weight_decay=-1)
"""


def write(folder: Path, text: str = CONFIG, **values: object) -> Path:
    path = folder / "config.py"
    values = {"backbone": "pvt_v2_b5", "classes": 1, "queries": 300, "dataset": "MS3Dataset"} | values
    path.write_text(text.format(**values) if text is CONFIG else text)
    return path


@pytest.mark.parametrize(
    ("values", "variant"),
    [
        ({}, "pvt_v2_b5-ms3"),
        ({"backbone": "res50", "dataset": "S4Dataset"}, "resnet50-s4"),
        ({"classes": 71, "dataset": "V2Dataset"}, "pvt_v2_b5-avss"),
    ],
)
def test_published_forms(values: dict, variant: str, tmp_path: Path) -> None:
    assert variant_of_config(write(tmp_path, **values)) == variant


def test_all_that_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path))
    assert config["model"]["head"]["transformer"]["encoder"]["layer"] == {"dim": 256, "ffn_dim": 2048, "dropout": 0.1}
    assert config["optimizer"] == {"type": "AdamW", "lr": 2e-5, "weight_decay": -1}
    assert config["dataset"]["test"]["img_size"] == (224, 224)


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "x = __import__('os').system('touch ran')",
        "open('ran', 'w')",
        "x = open('ran', 'w')",
        "x = [open('ran', 'w') for _ in (1,)]",
        "x = f\"{open('ran', 'w')}\"",
        "x = dict([('a', 1)])",
        "x = dict(**{'a': 1})",
        "x = {**{}}",
        "x = (lambda: 1)()",
        "x = unknown",
        "x = 2 * 3",
        "x.y = 1",
        "x: int = 1",
        "a, b = 1, 2",
        "def f(): pass",
        "x = {open('ran', 'w'): 1}",
    ],
)
def test_anything_that_would_have_to_be_run_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CoPropError, match=r"config\.py', line 2: .*nothing is run"):
        read_config(write(tmp_path, f"a = 1\n{line}\n"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"queries": 100}, "model.head.query_num is 100; this AVSegFormer has 300"),
        ({"backbone": "swin"}, r"model.backbone.type is 'swin'. Allowed: pvt_v2_b5, res50"),
        ({"dataset": "COCO"}, "dataset.test.type is 'COCO'"),
        ({"classes": 71}, "model.head.num_classes is 71; ms3 has 1"),
    ],
)
def test_other_models_are_refused(values: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match=message):
        variant_of_config(write(tmp_path, **values))


@pytest.mark.parametrize("text", ["x = (", "\0", "(" * 100000, "x = '\\ud800" + "é" * 10])
def test_what_is_no_python_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="is no Python config file"):
        read_config(write(tmp_path, text))


def test_lists_that_name_each_other_are_not_printed_in_full(tmp_path: Path) -> None:
    lines = ["a0 = [1]", *(f"a{i + 1} = [{', '.join([f'a{i}'] * 10)}]" for i in range(12)), "model = dict(type=a12)"]
    with pytest.raises(CoPropError, match=r"model\.type is \[\[\[") as caught:
        variant_of_config(write(tmp_path, "\n".join(lines)))
    assert len(str(caught.value)) < 300


def test_large_or_missing_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", write(tmp_path, "#" * ((1 << 20) + 1))):
        with pytest.raises(CoPropError, match=r"no config file at|a config file has at most"):
            read_config(path)
