"""Mend the masks of an mmsegmentation model by two lines in its config.

    python examples/inherit_config.py -o out                         # makes a small data set and a model
    python examples/inherit_config.py my_config.py my_model.pth      # or take your own

The config below is a whole one of mmsegmentation, inherited; ``coprop_plugin::_base_/coprop.py`` adds the hook. The base
model's metrics stay what they were, ``coprop/…`` stands beside them. The model has random weights: it paints at random,
also while nothing sounds, and that is what the hook mends. The same config runs under mmsegmentation's own
``tools/test.py``: the end of its first line imports this package before the bases are looked up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.engine.run import build_model, read_config, test_config

CONFIG = """\
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'coprop_plugin::_base_/coprop.py'] \\
    if __import__('coprop_plugin') else []

norm_cfg = dict(type='BN')
model = dict(  # yours
    pretrained=None,
    data_preprocessor=dict(size=None),
    backbone=dict(depth=18, base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=71, norm_cfg=norm_cfg),
    auxiliary_head=None)

test_dataloader = dict(
    _delete_=True,
    batch_size=5,
    num_workers=0,
    sampler=dict(type='VideoSampler'),  # whole videos, also under torchrun
    dataset=dict(
        type='AVSBenchDataset', data_root=r'{data}', split='test', unit='frame',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAVSMasks'), dict(type='PackAVSInputs')]))
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='AVSMetric', detail='headline'),
    dict(type='AlignmentMetric', detail='headline')]
"""


def make_example(folder: Path) -> tuple[Path, Path]:
    """A small data set in AVSBench's AVSS layout; the config over it, and a checkpoint with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    data, config, checkpoint = (folder / name for name in ("data", "my_config.py", "model.pth"))
    if not data.exists():
        write_dataset(data, kind="moc", seed=2, videos=3, splits=("test",), size=(64, 64))
    config.write_text(CONFIG.format(data=data.absolute()))
    torch.manual_seed(0)
    model: Any = build_model(read_config(str(config)))
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=3)  # else it would say "background" everywhere
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    return config, checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, help="your config; without it an example is made")
    parser.add_argument("checkpoint", nargs="?", type=Path, help="weights of its model")
    parser.add_argument("-o", "--out", default="out", type=Path, help="folder for the example and the logs")
    arguments = parser.parse_args()
    if arguments.config and not arguments.checkpoint:
        parser.error("give the config and its checkpoint, or neither for an example")

    file, checkpoint = make_example(arguments.out) if not arguments.config else (arguments.config, arguments.checkpoint)
    config = read_config(str(file), work_dir=arguments.out / "work")
    hooks = [hook for hook in config.get("custom_hooks", []) if hook.type.endswith("CoPropHook")]
    if not hooks:
        parser.error(
            f"{file} has no CoPropHook; inherit 'coprop_plugin::_base_/coprop.py', or add it to your custom_hooks"
        )
    hooks[0].update(output_dir=str(arguments.out / "refined"), report=True)

    metrics = test_config(config, str(checkpoint))
    for name in metrics:
        if not name.startswith("coprop/"):
            print(f"{name:<32} before {metrics[name]:8.4f}   after {metrics[f'coprop/{name}']:8.4f}")
    print(f"the numbers by the command line: coprop test {file} {checkpoint}")
    print(f"masks and a report of each video: {arguments.out / 'refined'}/*/report.html")


if __name__ == "__main__":
    main()
