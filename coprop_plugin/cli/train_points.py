"""``coprop train control-points``: the learned generator, on sounds whose sources are known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.made import FORMS
from ..errors import CoPropError
from .training_run import add_schedule, run_training, tell

if TYPE_CHECKING:
    from ..training.boundary import BoundaryTraining

HELP = """Train the learned control points (--control-points boundary) on sounds whose sources are known.
A stopped training goes on with the same command; OUT/weights.safetensors is for boundary:weights=FILE."""
EXAMPLES = """\
  coprop train control-points --data objects:objects:train:moc:0-2399 --data synth:moc:20000-20599 \\
      --calibrate objects:objects:val:moc:0-119 --steps 3000 --batch 24 --learning-rate 3e-3 -o runs/boundary
  coprop points video.mp4 --control-points boundary:weights=runs/boundary/weights.safetensors"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the training")
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what")
    what.add_argument("--checkpoint", metavar="FILE", help="weights to start from (none: from scratch)")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="DATA",
        help=f"{FORMS.replace('%', '%%')}; may be given again",
    )
    data.add_argument(
        "--calibrate",
        action="append",
        metavar="DATA",
        help="clips (as a library's val part) that make logits probabilities",
    )
    add_schedule(parser.add_argument_group("schedule"))


def run(args: argparse.Namespace) -> int:
    if args.device not in ("auto", "cpu"):
        raise CoPropError("the network of the control points is trained on the CPU; leave --device out.")
    outcome, schedule = run_training(args, lambda: _training(args))
    if args.calibrate:
        calibrate(outcome.weights, args.calibrate)
    tell(outcome, schedule, as_json=args.json)
    return 0


def _training(args: argparse.Namespace) -> BoundaryTraining:
    """What the flags describe."""
    from ..training.boundary import BoundaryTraining
    from ..training.boundary_data import open_heard
    from ..weights.checkpoint import read_state_dict

    source = open_heard(args.data)
    start = read_state_dict(args.checkpoint) if args.checkpoint else None
    return BoundaryTraining(source, seed=args.seed, start=start, record=source.describe())


def calibrate(weights: Path, texts: list[str]) -> None:
    """Write the scale and the shift that fit these clips (of a library: its val part) into a weights file."""
    import torch
    from safetensors.torch import save_file

    from ..control_points.boundary_net import BoundaryNet
    from ..training.boundary import fitted_calibration, second_logits
    from ..training.boundary_data import open_heard
    from ..weights.checkpoint import read_state_dict

    state = read_state_dict(weights)
    net = BoundaryNet.from_state(state, what=f"'{weights}'")
    fitted = fitted_calibration(*second_logits(net, open_heard(texts)))
    state["calibration"] = torch.tensor([fitted, net.calibration[1].tolist()])
    save_file(state, weights)
