"""``coprop train avsegformer``: a small AVSegFormer on a frozen EfficientNet-lite0, a base model that looks frame by frame."""

from __future__ import annotations

import argparse
from typing import Any

from .train_base import add_base, train_base

HELP = """Train a small AVSegFormer: its own layers, narrower and fewer, on EfficientNet-lite0 as it is and YAMNet or log-mel.
Trained with the losses of the keyframe processor; the published ones have one more, of its mixed feature.
It is a base model of `coprop study paper`. A stopped training goes on with the same command."""
EXAMPLES = """\
  coprop train avsegformer --data objects:LIB:train:ms3:0-599 --seen runs/seen --steps 600 --batch 4 --learning-rate 1e-3 -o runs/avsegformer
  coprop refine video.mp4 --adapter avsegformer_lite --adapter-checkpoint runs/avsegformer/weights.safetensors -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    what = add_base(parser)
    what.add_argument("--queries", type=int, default=32, metavar="N", help="of a frame (32)")
    what.add_argument("--layers", type=int, default=2, metavar="N", help="of each stack (2)")
    parser.add_argument("--frames", type=int, default=4, metavar="N", help="of each clip in a step (4)")


def run(args: argparse.Namespace) -> int:
    def network(audio_dim: int, size: tuple[int, int]) -> Any:
        from ..keyframe.former import Former, FormerForm

        return Former(FormerForm(audio_dim, args.width, size, queries=args.queries, layers=args.layers))

    return train_base(args, network, frames=args.frames)
