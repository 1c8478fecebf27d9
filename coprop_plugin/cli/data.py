"""``coprop data check``: what of a benchmark lies on disk, and what is missing."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from .terminal import console

if TYPE_CHECKING:
    from ..datasets.check import DatasetCheck, Part

HELP = "Check a benchmark on disk: which videos its table names, and whether all their files are there."
EXAMPLES = """\
  coprop data check AVSBench/Single-source
  coprop data check AVSBench --layout avss --json

Exit code 0: complete; 1: files are missing; 2: no data set, or a damaged one."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check",), help="what to do")
    parser.add_argument("root", metavar="ROOT", help="the folder of the data set, or the one above it")
    parser.add_argument(
        "--layout", choices=("auto", "s4", "ms3", "avss"), default="auto", help="needed where several are there"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of a table")


def run(args: argparse.Namespace) -> int:
    from rich.progress import track

    from ..datasets.avsbench import open_dataset
    from ..datasets.check import check_dataset

    dataset = open_dataset(args.root, layout=args.layout)
    check = check_dataset(dataset, track(dataset.table, "looking for files", console=console(stderr=True)))
    if args.json:
        print(json.dumps(check.to_dict(), indent=2))
    else:
        _show(check)
    return 0 if check.complete else 1


def _show(check: DatasetCheck) -> None:
    from rich.table import Table

    from ..datasets.check import MOST_NAMED, missing_files

    table = Table(title=f"{check.layout} at {check.data}")
    for name in ("split", "videos", "published", "frames", "sounds", "masks", "log-mel (optional)"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for name, split in check.splits.items():
        parts = (split.frames, split.sounds, split.masks, split.log_mel)
        published = "-" if split.published is None else str(split.published)
        table.add_row(name, str(split.videos), published, *map(_count, parts))
    out = console()
    out.print(table)
    for note in check.notes:
        out.print(f"note: {note}")
    missing = missing_files(check)
    for file in missing[:MOST_NAMED]:
        out.print(f"missing: {file}", soft_wrap=True)
    if len(missing) > MOST_NAMED:
        out.print(f"… and more; --json names the first {MOST_NAMED} of every sort")
    out.print("complete" if check.complete else "files are missing")


def _count(part: Part) -> str:
    if not part.expected:
        return "-"
    return str(part.found) if part.complete else f"{part.found} of {part.expected}"
