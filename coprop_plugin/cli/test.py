"""``coprop test``: run an OpenMMLab config's test, the base model's metrics and the refined ones side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Mapping

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
    if is_first_process():
        print(json.dumps(metrics, indent=2) if args.json else table(metrics))
    return end_of_rank(0)


def end_of_rank(code: int) -> int:
    """The exit code; a process of torchrun ends here and now.

    Where an interpreter is taken down while gloo's threads still run, the process now and then aborts ("terminate called
    without an active exception"), though all its work is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def table(metrics: Mapping[str, float]) -> str:
    """Each metric once: the base model's number, and beside it the number of each hook, under the hook's prefix.

    Shares are percent, as mmseg's own numbers are; errors in frames or seconds say so.
    """
    prefixes = list(dict.fromkeys(p for p, _, name in (key.partition("/") for key in metrics) if name in metrics))
    refined = {f"{prefix}/{name}" for prefix in prefixes for name in metrics}
    names = [name for name in metrics if name not in refined]
    width = max(map(len, ("metric", *names)))
    lines = [f"{'metric':<{width}}{'base':>12}" + "".join(f"{prefix:>12}" for prefix in prefixes) + "  unit"]
    for name in names:
        values = [metrics[name], *(metrics.get(f"{prefix}/{name}", math.nan) for prefix in prefixes)]
        scale, unit = _unit(name)
        cells = "".join(f"{'-' if math.isnan(v) else f'{scale * v:.2f}':>12}" for v in values)
        lines.append(f"{name:<{width}}{cells}  {unit}")
    return "\n".join(lines)


def _unit(name: str) -> tuple[float, str]:
    """By what a number of a protocol (``avsbench/M_J``) is multiplied, and its unit; mmseg's own are percent already."""
    if "/" not in name:
        return 1.0, "%"
    if name.endswith("_frames"):
        return 1.0, "frames"
    return (1.0, "s") if name.endswith("_s") else (100.0, "%")


def is_first_process() -> bool:
    """Under torchrun one process speaks for all."""
    return os.environ.get("RANK", "0") == "0"
