"""What the trainings of small base models share: their flags, and the run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .synth import size_of
from .train_kpf import add_seen, seen_of
from .training_run import add_schedule, add_source, run_training, tell


def add_base(parser: argparse.ArgumentParser) -> Any:
    """Add the flags; the group of those that say what is trained."""
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the training")
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what")
    what.add_argument("--ear", choices=("yamnet", "logmel"), default="yamnet", help="(yamnet)")
    what.add_argument("--backbone-checkpoint", metavar="FILE", help="EfficientNet-lite0's weights (the package's)")
    what.add_argument("--size", default="160x160", metavar="HxW", help="of the frames (160x160)")
    what.add_argument("--width", type=int, default=64, metavar="N", help="of what follows the backbone (64)")
    data = parser.add_argument_group("data")
    add_source(data)
    add_seen(data)
    add_schedule(parser.add_argument_group("schedule"))
    parser.set_defaults(freeze_backbone=True, audio_checkpoint=None)
    return what


def train_base(args: argparse.Namespace, make: Callable[[int, tuple[int, int]], Any], *, frames: int) -> int:
    """Train what the flags describe and tell it.

    Args:
        args: with the flags of :func:`add_base`.
        make: the network for the numbers of a frame's sound and the size of its picture.
        frames: of each clip in a step.
    """
    outcome, schedule = run_training(args, lambda: _training(args, make, frames))
    tell(outcome, schedule, as_json=args.json)
    return 0


def _training(args: argparse.Namespace, make: Callable[[int, tuple[int, int]], Any], frames: int) -> Any:
    from ..keyframe.ears import EARS, open_ear
    from ..training.kpf import KpfTraining, starting_base
    from ..training.sources import open_source
    from ..weights.device import choose_device

    size = size_of(args.size)
    network = starting_base(
        lambda: make(EARS[args.ear], size), backbone_checkpoint=args.backbone_checkpoint, seed=args.seed
    ).to(choose_device(args.device))
    source, hear = open_source(args.data, size=size, split=args.split), open_ear(args.ear)
    seen = seen_of(args, source, network, hear, args.ear)
    return KpfTraining(network, source, hear, frames=frames, freeze_backbone=True, seen=seen, record={"ear": args.ear})
