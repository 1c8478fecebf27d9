"""``coprop score``: one clip's saved predictions against the truth, under named protocols."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CoPropError
from . import options
from .terminal import console

if TYPE_CHECKING:
    from ..metrics.scores import Scores
    from ..structures import ControlPoints

HELP = "Score the saved predictions of one clip against the truth, under named protocols."
EXAMPLES = """\
  coprop score preds/ --truth gt/
  coprop score scores.npz --kind logit --truth gt/ --protocol avsbench:batch=1 --protocol alignment
  coprop score preds/ --truth labels_rgb/ --classes avsbench --protocol all --json
  coprop score preds/ --truth gt/ --protocol control-points --predicted-control-points points.json
  coprop score --list"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prediction", nargs="?", help="a folder of PNGs, an npz/npy file, or a result of coprop refine")
    parser.add_argument("--truth", metavar="PATH", help="true masks: a folder of PNGs, or an npz/npy file")
    reading = parser.add_argument_group("files")
    options.add_reading(reading)
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument(
        "--protocol", action="append", metavar="NAME[:k=v,…]", help="rule of the numbers (default: avsbench); repeat it"
    )
    options.add_renamed(
        scoring,
        "--predicted-control-points",
        old="--control-points",
        dest="control_points",
        metavar="FILE",
        help="predicted ones (JSON), else from the masks",
    )
    scoring.add_argument("--true-control-points", metavar="FILE", help="true ones (JSON), else from the true masks")
    scoring.add_argument(
        "--sampling", metavar="NAME", help="avsbench or uniform:RATE, to give errors in seconds as well"
    )
    scoring.add_argument("--list", action="store_true", help="list the protocols and stop")
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    if args.list:
        return list_protocols(as_json=args.json)
    from ..adapters.saved_masks import read_prediction
    from ..metrics.protocols import score
    from ..structures import parse_sampling

    if not args.prediction or not args.truth:
        raise CoPropError("name what to score and its truth:  coprop score PREDICTION --truth TRUTH")
    reading = options.reading_of(args)
    truth = read_prediction(args.truth, **{**reading, "kind": "hard"})
    scores = score(
        read_prediction(args.prediction, **{**reading, "ignore": None}),
        truth,
        protocol=args.protocol or "avsbench",
        control_points=_points(args.control_points),
        truth_control_points=_points(args.true_control_points),
        video_id=Path(args.prediction).name,
        frame_s=float(1 / parse_sampling(args.sampling).rate_hz) if args.sampling else None,
    )
    if args.json:
        print(scores.to_json())
    else:
        render(scores)
    return 0


def list_protocols(*, as_json: bool) -> int:
    """Every protocol with its line."""
    from ..metrics.protocols import describe

    lines = describe()
    if as_json:
        print(json.dumps(lines, indent=2))
        return 0
    from rich.table import Table

    table = Table("protocol", "what it computes", box=None, pad_edge=False, header_style="bold")
    for name, line in lines.items():
        table.add_row(name, line)
    console().print(table)
    return 0


def render(scores: Scores) -> None:
    """A table for each protocol, under its name and rule."""
    from rich.table import Table

    from ..metrics.scores import label
    from .tables import number

    out = console()
    for part in scores.parts:
        about = part.about
        table = Table(str(part.protocol), box=None, pad_edge=False, header_style="bold", title_justify="left")
        table.add_column("value", justify="right")
        table.add_column("unit")
        for row in part.rows():
            shown = str(row.value) if isinstance(row.value, int) else number(row.value)
            table.add_row(label(row.metric, row.masks), shown, "" if row.value is None else row.unit)
        out.print(table)
        out.print(about["rule"], style="dim")
        without = f", {about['frames_without_truth']} without a truth" if about["frames_without_truth"] else ""
        for note in about.get("notes", ()):
            out.print(f"note: {note}")
        out.print(
            f"{about['frames']} frames{without}, compared at {about['size']} ({about['resize']}), "
            f"prediction: {about['scores']}\n",
            style="dim",
        )


def _points(path: str | None) -> ControlPoints | None:
    """Control points from their file."""
    from ..control_points.fixed import read_control_points

    return None if path is None else read_control_points(path)
