"""``coprop study``: the same clips under many settings."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from ..parts import PartKind, names_in
from . import options, study_paper, study_points
from .terminal import console

if TYPE_CHECKING:
    from ..study.cases import Case

HELP = "Compare policies, propagators and control points on clips whose truth is known."
EXAMPLES = """\
  coprop study plug-in --seeds 100-139
  coprop study plug-in --clips objects:objects/lib:test:moc:0-99
  coprop study plug-in --composed clips/ --simulators lag,flicker --propagators flow --json
  coprop study control-points --seeds 100-139 -o study/
  coprop study control-points --data-root AVSBench --dataset ms3 --predictions preds/ --table-2b \\
      --lm-server http://127.0.0.1:8000/v1 --examples D.json"""


def configure(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="study", metavar="STUDY", required=True)
    plug_in = kinds.add_parser("plug-in", help="what the plug-in does to imperfect base models", allow_abbrev=False)
    plug_in.add_argument(
        "--seeds", metavar="A-B", help="synthetic clips of these seeds (default 100-139, where no others are named)"
    )
    options.add_renamed(
        plug_in,
        "--like",
        old="--kind",
        dest="kind",
        default="moc",
        help="which benchmark's clips synthetic ones are like: s4, ms3, avss, moc (moc)",
    )
    plug_in.add_argument(
        "--timbres",
        choices=("drawn", "class"),
        default="drawn",
        help="of synthetic clips: every source its own, or one a class, as changepoint was tuned on (drawn)",
    )
    plug_in.add_argument(
        "--labelling",
        choices=("binary", "semantic"),
        help="one foreground, or classes (default: semantic for avss and composed clips with classes)",
    )
    plug_in.add_argument("--size", type=int, default=224, help="side of made frames in pixels (224)")
    plug_in.add_argument("--clips", metavar="CLIPS", action="append", help=options.CLIPS_HELP)
    plug_in.add_argument("--composed", metavar="DIR", help="composed clips, NAME.mp4 with NAME.json")
    plug_in.add_argument("--simulators", metavar="A,B,…", help="faults, NAME or NAME:STRENGTH (default: all)")
    flags: dict[str, PartKind] = {"generators": "control_points", "propagators": "propagator", "policies": "fusion"}
    for flag, kind in flags.items():
        plug_in.add_argument(
            f"--{flag}", metavar="A,B,…", help=f"to compare (default: what refine takes); {options.names_of(kind)}"
        )
    plug_in.add_argument("--strengths", metavar="1,2", default="1,2", help="of the faults")
    plug_in.add_argument("--json", action="store_true", help="print JSON")
    add_out(plug_in)
    points = kinds.add_parser("control-points", help="control points against the truth", allow_abbrev=False)
    study_points.configure(points)
    add_out(points)
    paper = kinds.add_parser("paper", help="the paper's tables on library clips", allow_abbrev=False)
    study_paper.configure(paper)
    add_out(paper)


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        help="write study.json (as --json prints), clips.jsonl (a line a clip and row) "
        "and, of plug-in, harmed/ (the report of every harmed clip)",
    )


def run(args: argparse.Namespace) -> int:
    if args.study == "control-points":
        return study_points.run(args)
    if args.study == "paper":
        return study_paper.run(args)
    from ..study import plug_in
    from ..study.written import study_folder, write_study

    folder = study_folder(args.out) if args.out else None
    chosen = {
        name: tuple(names_in(given))
        for name in ("simulators", "generators", "propagators", "policies")
        if (given := getattr(args, name))
    }
    strengths = [int(s) for s in args.strengths.split(",")]
    rows = plug_in.run(
        _cases(args),
        strengths=strengths,
        progress=lambda name: print(f"  {name}", file=sys.stderr, flush=True),
        reports=folder and folder / "harmed",
        **chosen,
    )
    told = plug_in.summary(rows)
    if folder:
        write_study(folder, told, plug_in.per_clip(rows))
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        _render(told)
    return 0


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    from ..datasets.made import MadeClips, made_clips
    from ..study.cases import composed_cases, made_cases

    look: dict[str, Any] = {"size": args.size, "timbres": args.timbres, "labelling": args.labelling}
    for text in args.clips or ():
        yield from made_cases(made_clips(text), **look)
    if args.seeds or not (args.composed or args.clips):
        yield from made_cases(MadeClips(args.kind, seeds_of(args.seeds or "100-139")), **look)
    if args.composed:
        yield from composed_cases(args.composed, labelling=args.labelling)


def seeds_of(text: str) -> range:
    """``"100-139"`` as a range that holds both ends."""
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise CoPropError(f"--seeds is a range as 100-139, got '{text}'.")
    return range(int(first), int(last or first) + 1)


def _render(told: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(
        title=f"{told[0]['clips']} clips, {told[0]['set']}: alignment_set or alignment_binary@0.5, M_J (published frame "
        "IoU of any object); percent, mean over clips [95 % paired bootstrap interval of the change]; worse: clips that "
        "lost more than 1 point of M_J [95 % Wilson interval]; tail: mean change of the worst 5 % of the clips",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in ("base model", "policy", "control points", "propagator"):
        table.add_column(column, no_wrap=True)
    for column in ("alignment", "change", "best inside", "recovered", "M_J", "change", "worse", "worst", "tail"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in told:
        recovered = row["recovered"]
        table.add_row(
            *(row[name] for name in ("base model", "policy", "control points", "propagator")),
            f"{row['alignment']:.1f}",
            _change(row.get("alignment change")),
            f"{row['best inside segments']:.1f}",
            "" if recovered is None else f"{recovered:.0f} %",
            f"{row['M_J']:.1f}",
            _change(row.get("M_J change")),
            *_harm(row.get("harm")),
        )
    terminal = console(width=200)
    terminal.print(table)
    harmed = Counter(clip for row in told for clip, _ in row.get("harm", {}).get("harmed", ()))
    terminal.print("harmed clips (rows): " + (", ".join(f"{c} ({n})" for c, n in harmed.most_common(30)) or "none"))
    for page in sorted(page for row in told for page in row.get("reports", {}).values()):
        terminal.print(f"  report: {page}")


def _harm(told: dict[str, Any] | None) -> tuple[str, str, str]:
    """Cells of a row: share worse with its interval, worst clip, tail."""
    if told is None:
        return "", "", ""
    share = "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * told[k] for k in ("worse", "worse_low", "worse_high")))
    return share, f"{100 * told['worst']:+.1f}", f"{100 * told['tail']:+.1f}"


def _change(interval: list[float] | None) -> str:
    return "" if interval is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*interval)
