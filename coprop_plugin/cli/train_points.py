"""``coprop train control-points``: the learned generator, on sounds whose sources are known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.made import FORMS
from ..errors import CoPropError
from ..files import atomic_write
from .training_run import add_schedule, run_training, tell

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.boundary import BoundaryTraining

HELP = """Train the learned control points (--control-points boundary) on sounds whose sources are known.
A stopped training goes on with the same command; OUT/weights.safetensors is for boundary:weights=FILE."""
EXAMPLES = """\
  coprop train control-points --data objects:objects:train:moc:0-2399 --data synth:moc:20000-20599 \\
      --calibrate objects:objects:val:moc:0-299 --yamnet objects:objects:train:moc:0-499 \\
      --steps 4800 --batch 24 --learning-rate 3e-3 -o runs/boundary
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
        help="clips (as a library's val part) that make logits probabilities, and choose the threshold that is told",
    )
    data.add_argument(
        "--yamnet",
        action="append",
        metavar="DATA",
        help="clips to train on (500 are enough) for what YAMNet adds; without, weights for yamnet=True are as plain ones",
    )
    add_schedule(parser.add_argument_group("schedule"))


def run(args: argparse.Namespace) -> int:
    if args.device not in ("auto", "cpu"):
        raise CoPropError("the network of the control points is trained on the CPU; leave --device out.")
    _check_finish(args.calibrate or [], args.yamnet or [])
    outcome, schedule = run_training(args, lambda: _training(args))
    judged = finish(outcome.weights, args.calibrate or [], args.yamnet or []) if outcome.finished else {}
    tell(outcome, schedule, as_json=args.json, judged=judged)
    return 0


def _training(args: argparse.Namespace) -> BoundaryTraining:
    """What the flags describe."""
    from ..training.boundary import BoundaryTraining
    from ..training.boundary_data import open_heard
    from ..weights.checkpoint import read_state_dict

    source = open_heard(args.data)
    start = read_state_dict(args.checkpoint) if args.checkpoint else None
    return BoundaryTraining(source, seed=args.seed, start=start, record=source.describe())


def _check_finish(calibrated: list[str], with_yamnet: list[str]) -> None:
    """Say before the hours of a training what would be missing after them."""
    from ..audio.yamnet_files import installed_weights
    from ..training.boundary_data import open_heard

    for given in (calibrated, with_yamnet):
        if given:
            open_heard(given)
    if with_yamnet:
        installed_weights()


def finish(weights: Path, calibrated: list[str], with_yamnet: list[str]) -> dict[str, Any]:
    """Fit, in a weights file, what YAMNet adds on these clips, then the scale and the shift on those.

    Returns:
        On the clips of the calibration, without YAMNet and with it: the threshold that is best, F1 of changes between
        neighbouring seconds there, and the calibration error.
    """
    import torch
    from safetensors.torch import save

    from ..control_points.boundary_net import BoundaryNet
    from ..training.boundary import second_logits
    from ..training.boundary_data import open_heard
    from ..weights.checkpoint import read_state_dict

    if not (calibrated or with_yamnet):
        return {}
    state = read_state_dict(weights)
    net = BoundaryNet.from_state(state, what=f"'{weights}'")
    judged, fitted = {}, net.calibration.tolist()
    source = open_heard(calibrated) if calibrated else None
    if source is not None:
        fitted[0], judged["validation"] = _calibrated(*second_logits(net, source))
        fitted[1] = fitted[0]
    if with_yamnet:
        from ..audio.yamnet import YamNet
        from ..audio.yamnet_files import installed_weights
        from ..training.boundary_ear import fit_ear, heard_twice

        yamnet = YamNet.load(installed_weights())
        fit_ear(net, heard_twice(net, open_heard(with_yamnet), yamnet))
        if source is not None:
            heard = heard_twice(net, source, yamnet).second_logits(net)
            fitted[1], judged["validation_yamnet"] = _calibrated(*heard)
        state |= {f"ear.{name}": value.half() for name, value in net.ear.state_dict().items()}
    state["calibration"] = torch.tensor(fitted)
    with atomic_write(weights, "wb") as file:  # what was read may still be mapped
        file.write(save({name: value.contiguous() for name, value in state.items()}))
    return judged


def _calibrated(logits: Tensor, changed: Tensor) -> tuple[list[float], dict[str, float]]:
    from ..training.boundary import best_threshold, calibration_error, fitted_calibration

    scale, shift = fitted_calibration(logits, changed)
    chances, happened = (scale * logits + shift).sigmoid().numpy(), changed.numpy()
    threshold, f1 = best_threshold(chances, happened)
    judged = {"threshold": threshold, "F1": round(f1, 4), "calibration_error": calibration_error(chances, happened)}
    return [scale, shift], judged
