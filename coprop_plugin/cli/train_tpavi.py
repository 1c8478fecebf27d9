"""``coprop train tpavi``: a small TPAVI on a frozen EfficientNet-lite0, a base model that sees whole clips."""

from __future__ import annotations

import argparse
from typing import Any

from .train_base import add_base, train_base

HELP = """Train a small TPAVI (the AVSBench baseline's form): EfficientNet-lite0 as it is, YAMNet or log-mel, five frames together.
It is a base model of `coprop study paper`. A stopped training goes on with the same command."""
EXAMPLES = """\
  coprop train tpavi --data objects:LIB:train:ms3:0-599 --seen runs/seen --steps 600 --batch 4 --learning-rate 1e-3 -o runs/tpavi
  coprop refine video.mp4 --adapter tpavi_lite --adapter-checkpoint runs/tpavi/weights.safetensors -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_base(parser)


def run(args: argparse.Namespace) -> int:
    def network(audio_dim: int, size: tuple[int, int]) -> Any:
        from ..keyframe.whole import WholeClip, WholeForm

        return WholeClip(WholeForm(audio_dim, args.width, size))

    return train_base(args, network, frames=5)
