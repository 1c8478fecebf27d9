"""Mend the masks of an mmsegmentation model by two lines in its config.

    python examples/inherit_config.py -o out    # makes a small data set and a model with random weights

The config below is a whole one of mmsegmentation, inherited; ``coprop_plugin::_base_/coprop.py`` adds the hook. The base
model's metrics stay what they were, ``coprop/…`` stands beside them. The same file runs under mmsegmentation's own
``tools/test.py``: the end of the first line imports this package before the bases are looked up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.engine.run import read_config, test_config

CONFIG = """\
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'coprop_plugin::_base_/coprop.py'] \\
    if __import__('coprop_plugin') else []

norm_cfg = dict(type='BN')
model = dict(  # your model; this one is small and knows nothing
    pretrained=None,
    data_preprocessor=dict(size=None),
    backbone=dict(depth=18, base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=2, norm_cfg=norm_cfg),
    auxiliary_head=None)

test_dataloader = dict(
    _delete_=True,
    batch_size=5,
    num_workers=0,
    sampler=dict(type='VideoSampler'),  # whole videos, also under torchrun
    dataset=dict(
        type='AVSBenchDataset', data_root=r'{data}', split='test', unit='frame',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAVSMasks'), dict(type='PackAVSInputs')]))
test_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU', 'mFscore']), dict(type='AVSMetric')]
"""


def make_example(folder: Path) -> Path:
    """A small data set in AVSBench's MS3 layout, and the config."""
    data = folder / "data"
    if not data.exists():
        write_dataset(data, kind="ms3", videos=2, splits=("test",), size=(64, 64))
    config = folder / "my_config.py"
    config.write_text(CONFIG.format(data=data.absolute()))
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="weights of the model; without them it is random")
    parser.add_argument("-o", "--out", default="out", type=Path, help="folder for data, config and logs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    config = read_config(str(make_example(arguments.out)), work_dir=arguments.out / "work")
    metrics = test_config(config, arguments.checkpoint)
    for name in metrics:
        if not name.startswith("coprop/"):
            print(f"{name:<32} before {metrics[name]:8.4f}   after {metrics[f'coprop/{name}']:8.4f}")


if __name__ == "__main__":
    main()
