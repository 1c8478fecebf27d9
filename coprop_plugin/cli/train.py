"""``coprop train``: run an OpenMMLab config's training; its validation shows the refined metrics too."""

from __future__ import annotations

import argparse

from .test import add_runner, end_of_rank

HELP = """Train the model of an OpenMMLab config. The config is Python code, and it is run: take only one you trust.
With a CoPropHook in it, save_best='coprop/mIoU' keeps the checkpoint whose refined masks are best.
`coprop train propagator --help`: train AOT and its audio insert instead, without a config; `coprop train control-points
--help`: the learned control points; `coprop train kpf --help`: the keyframe processor; `coprop train ssp --help`:
Stepping Stone Plus, a base model; `coprop train tpavi --help` and `coprop train avsegformer --help`: small base models."""
SUBJECTS = {
    "propagator": "train_propagator",
    "control-points": "train_points",
    "kpf": "train_kpf",
    "ssp": "train_ssp",
    "tpavi": "train_tpavi",
    "avsegformer": "train_avsegformer",
}
EXAMPLES = """  coprop train my_config.py
  coprop train my_config.py pretrained.pth --set train_cfg.max_epochs=5
  coprop train my_config.py work_dirs/my_config/epoch_3.pth --resume"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_runner(parser)
    parser.add_argument("--resume", action="store_true", help="go on where CKPT ended: its epoch and optimizer too")


def run(args: argparse.Namespace) -> int:
    from ..engine.run import read_config, train_config

    config = read_config(args.config_file, options=args.set, work_dir=args.work_dir)
    train_config(config, args.checkpoint, resume=args.resume)
    return end_of_rank(0)
