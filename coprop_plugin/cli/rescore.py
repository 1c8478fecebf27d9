"""``coprop rescore``: a benchmark's saved predictions, of one method or several, before and after."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import parts
from ..errors import CoPropError
from . import options
from .terminal import console, say

if TYPE_CHECKING:
    from ..rescore import RunPlan, Summary
    from ..rescore.pool import Executor
    from ..rescore.worker import Outcome

HELP = "Refine and re-score the saved predictions of a whole benchmark; interrupted, the same command goes on."
EXAMPLES = """\
  coprop rescore preds/tpavi preds/catr --dataset ms3 --data-root AVSBench -o runs/ms3
  coprop rescore mine=preds/run7 --dataset s4 --data-root AVSBench --kind probability --workers 8 -o runs/s4
  coprop rescore preds/aavs --dataset avss --data-root AVSS --off-palette background -o runs/avss
  coprop rescore preds/tpavi --dataset ms3 --data-root AVSBench --semantic-root AVSS -o runs/ms3   (with MOC)
  torchrun --nproc-per-node 4 -m coprop_plugin.cli.main rescore preds/tpavi --data-root AVSBench -o runs/ms3
  RAY_AUTH_TOKEN=… coprop rescore preds/tpavi --data-root AVSBench --engine ray --address auto -o runs/ms3

Each PRED_DIR holds a folder of PNGs (ID/ or CATEGORY/ID/) or an array file (ID.npz, .npy) for every video."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", nargs="*", metavar="[NAME=]PRED_DIR", help="saved predictions of a method")
    data = parser.add_argument_group("benchmark")
    data.add_argument("--dataset", choices=("auto", "s4", "ms3", "avss"), default="auto", help="which (default: auto)")
    data.add_argument("--data-root", metavar="DIR", help="where it lies")
    data.add_argument("--split", default="test", metavar="NAME", help="train, val or test (default)")
    data.add_argument("--semantic-root", metavar="DIR", help="AVSS, whose class masks tell which MS3 videos are MOC")
    reading = parser.add_argument_group("predictions")
    options.add_reading(reading)
    options.add_method(parser)
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--out", metavar="DIR", required=True, help="a new or empty folder, or the run to go on")
    output.add_argument(
        "--protocol", action="append", metavar="NAME", help="scoring protocol (default: avsbench, alignment, split)"
    )
    output.add_argument(
        "--scores", choices=("none", "float32", "float16"), default="none", help="keep refined probabilities too"
    )
    output.add_argument(
        "--pages", choices=("none", "extremes", "all"), default="extremes", help="reports of single videos"
    )
    output.add_argument(
        "--latex",
        choices=("full", "compact"),
        default="full",
        help="comparison.tex: every table (default), or a paper's",
    )
    output.add_argument(
        "--published", action="store_true", help="printed numbers of the same test split beside this run's"
    )
    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--engine",
        choices=("local", "torchrun", "ray"),
        help="default: torchrun if it started this command, else local",
    )
    scale.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes (default 1); with ray actors at most (default: all GPUs or CPUs)",
    )
    scale.add_argument("--address", default="auto", metavar="HOST:PORT", help="the Ray cluster's head (default: auto)")
    output.add_argument("--retry-failed", action="store_true", help="try videos again that failed before")
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    if not args.predictions or not args.data_root:
        raise CoPropError("name the predictions and the data:  coprop rescore PRED_DIR --data-root DIR -o OUT")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before numpy comes: a run's bytes must not depend on the machine's cores
    from ..rescore import RunFolder, make_plan, rescore
    from ..rescore.torchrun import Torchrun

    RunFolder(args.out).check()
    plan = make_plan(
        [args.predictions] if isinstance(args.predictions, str) else args.predictions,
        args.data_root,
        layout=args.dataset,
        split=args.split,
        method=_method(args),
        reading=options.reading_of(args),
        protocol=args.protocol or ("avsbench", "alignment", "split"),
        scores=args.scores,
        semantic_root=args.semantic_root,
    )
    engine = _engine(args)
    if isinstance(engine, Torchrun) and engine.rank:
        engine.follow(plan, RunFolder(args.out), retry_failed=args.retry_failed)
        return 0
    with progress(plan) as note:
        summary = rescore(
            plan,
            args.out,
            engine=engine,
            retry_failed=args.retry_failed,
            pages=args.pages,
            published=args.published,
            latex=args.latex,
            progress=note,
        )
    render(summary, as_json=args.json)
    return 1 if summary.failed else 0


def _engine(args: argparse.Namespace) -> Executor:
    """What works off the videos."""
    from ..rescore.pool import Processes
    from ..rescore.torchrun import Torchrun, started_by_torchrun

    name = args.engine or ("torchrun" if started_by_torchrun() else "local")
    if name != "ray" and args.address != "auto":
        raise CoPropError("--address names a Ray cluster; say --engine ray with it.")
    if name == "ray":
        from ..rescore.ray_cluster import RayCluster

        return RayCluster(args.address, workers=args.workers)
    if name == "torchrun":
        if args.workers is not None:
            raise CoPropError("torchrun decides how many processes there are (--nproc-per-node); leave --workers out.")
        return Torchrun()
    return Processes(1 if args.workers is None else args.workers)


def _method(args: argparse.Namespace) -> dict[str, Any]:
    """The parts as the manifest keeps them: names resolved to dicts."""
    given: dict[parts.PartKind, Any] = {
        "control_points": options.control_points_of(args),
        "propagator": args.propagator,
        "fusion": args.fusion,
    }
    method: dict[str, Any] = {kind: options.parsed(kind, value) for kind, value in given.items()}
    if args.propagator_checkpoint:
        method["propagator"]["checkpoint"] = args.propagator_checkpoint
    return method


@contextmanager
def progress(plan: RunPlan) -> Iterator[Callable[[Outcome], None]]:
    """A bar with rate and time left on stderr; failures are told as they come."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    terminal = console(stderr=True)
    bar = Progress(
        TextColumn("re-scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=terminal,
    )
    with bar:
        task = bar.add_task("", total=len(plan.videos) * len(plan.sources), rate="")

        def note(outcome: Outcome) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, advance=1, rate=f"{speed:.1f} videos/s" if speed else "")
            if outcome.status == "failed":
                where = f"{outcome.task.source.name}/{outcome.task.video.video_id}"
                terminal.print(f"failed {where}: {outcome.error}", style="red", soft_wrap=True)

        yield note


def render(summary: Summary, *, as_json: bool) -> None:
    """The tables, or all of it as JSON; what went wrong goes to stderr."""
    from ..rescore.formats import as_dict, to_text

    if as_json:
        told = {**as_dict(summary.comparison), "out": str(summary.folder), "videos_failed": summary.failed}
        json.dump(told, sys.stdout, indent=1)
        print()
    else:
        say(to_text(summary.comparison).decode(), end="")
    for note in summary.notes:
        say(f"note: {note}", file=sys.stderr)
    kept = f", {summary.kept} kept from before" if summary.kept else ""
    say(
        f"\n{summary.done} videos done{kept}, {summary.failed} failed; written to {summary.folder}/; "
        f"open {summary.folder / 'index.html'}",
        file=sys.stderr,
    )
    if summary.failed:
        say(
            "coprop: error: some videos have no result; they are listed above and in "
            f"{summary.folder / 'failed'}. Mend them and add --retry-failed.",
            file=sys.stderr,
        )
