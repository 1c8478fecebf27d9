"""``coprop train tpavi``: a small TPAVI on a frozen EfficientNet-lite0, a base model that sees whole clips."""

from __future__ import annotations

import argparse
from typing import Any

from .synth import size_of
from .train_kpf import add_seen, seen_of
from .training_run import add_schedule, add_source, run_training, tell

HELP = """Train a small TPAVI (the AVSBench baseline's form): EfficientNet-lite0 as it is, YAMNet or log-mel, five frames together.
It is the base model of `coprop study paper`. A stopped training goes on with the same command."""
EXAMPLES = """\
  coprop train tpavi --data objects:LIB:train:ms3:0-599 --seen runs/seen --steps 600 --batch 4 --learning-rate 1e-3 -o runs/tpavi
  coprop refine video.mp4 --adapter tpavi_lite --adapter-checkpoint runs/tpavi/weights.safetensors -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the training")
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what")
    what.add_argument("--ear", choices=("yamnet", "logmel"), default="yamnet", help="(yamnet)")
    what.add_argument("--backbone-checkpoint", metavar="FILE", help="EfficientNet-lite0's weights (the package's)")
    what.add_argument("--size", default="160x160", metavar="HxW", help="of the frames (160x160)")
    what.add_argument("--width", type=int, default=64, metavar="N", help="of the pyramid (64)")
    data = parser.add_argument_group("data")
    add_source(data)
    add_seen(data)
    add_schedule(parser.add_argument_group("schedule"))
    parser.set_defaults(freeze_backbone=True, audio_checkpoint=None)


def run(args: argparse.Namespace) -> int:
    outcome, schedule = run_training(args, lambda: _training(args))
    tell(outcome, schedule, as_json=args.json)
    return 0


def _training(args: argparse.Namespace) -> Any:
    """What the flags describe."""
    from ..keyframe.ears import EARS, open_ear
    from ..keyframe.whole import WholeForm
    from ..training.kpf import KpfTraining, starting_whole
    from ..training.sources import open_source
    from ..weights.device import choose_device

    form = WholeForm(EARS[args.ear], args.width, size_of(args.size))
    network = starting_whole(form, backbone_checkpoint=args.backbone_checkpoint, seed=args.seed).to(
        choose_device(args.device)
    )
    source, hear = open_source(args.data, size=form.size, split=args.split), open_ear(args.ear)
    seen = seen_of(args, source, network, hear, args.ear)
    return KpfTraining(network, source, hear, frames=5, freeze_backbone=True, seen=seen, record={"ear": args.ear})
