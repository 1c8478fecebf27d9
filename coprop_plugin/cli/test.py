"""``coprop test``: run an OpenMMLab config's test, the base model's metrics and the refined ones side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

HELP = """Test the model of an OpenMMLab config. The config is Python code, and it is run: take only one you trust.
Under torchrun every process takes its share of the videos (sampler=dict(type='VideoSampler'))."""
EXAMPLES = """  coprop test my_config.py model.pth
  coprop test avsegformer/ms3.py --set test_dataloader.dataset.data_root=AVSBench --set model.adapter.checkpoint=ms3.pth
  torchrun --nproc-per-node 2 -m coprop_plugin.cli.main test my_config.py model.pth"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_runner(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_runner(parser: argparse.ArgumentParser) -> None:
    """What ``test`` and ``train`` share."""
    parser.add_argument(
        "config_file", metavar="CONFIG", help="a file, PACKAGE::FILE, or a name of `coprop configs list`"
    )
    parser.add_argument("checkpoint", metavar="CKPT", nargs="?", help="weights to start from")
    parser.add_argument("--work-dir", metavar="DIR", help="logs and checkpoints (default: work_dirs/NAME)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="replace an entry of the config"
    )


def run(args: argparse.Namespace) -> int:
    from ..engine.run import read_config, test_config

    with contextlib.redirect_stdout(sys.stderr):  # mmengine logs to stdout, which is for the numbers
        config = read_config(args.config_file, options=args.set, work_dir=args.work_dir)
        metrics = test_config(config, args.checkpoint)
    if not is_first_process():
        return 0
    if args.json:
        print(json.dumps(metrics, indent=2))
    else:
        for name, value in metrics.items():
            print(f"{name:<48} {value:.4f}")
    return 0


def is_first_process() -> bool:
    """Under torchrun one process speaks for all."""
    return os.environ.get("RANK", "0") == "0"
