"""``coprop data``: what of a benchmark lies on disk, libraries of real things, and the keyframes of a data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CoPropError
from .terminal import console, say

if TYPE_CHECKING:
    from ..datasets.check import DatasetCheck, Part
    from ..datasets.objects.further import Further

HELP = """Check a benchmark on disk, or build and describe a library of real objects and sounds.
`coprop data keyframes --help`: list the keyframes of a data set instead."""
SUBJECTS = {"keyframes": "data_keyframes"}
EXAMPLES = """\
  coprop data check AVSBench/Single-source
  coprop data check AVSBench --layout avss --json
  coprop data objects objects/lib --stamps unpacked/usr/share/tuxpaint/stamps \\
      --soundfont unpacked/usr/share/sounds/sf2/TimGM6mb.sf2 --backgrounds unpacked/usr/share/backgrounds
  coprop data objects my/library

check: exit code 0: complete; 1: files are missing; 2: no data set, or a damaged one.
objects: a library lies in ROOT (objects/CLASS/NAME/{cutout.png,sound*.wav}, distractors/, voices/SPEAKER/, backgrounds/,
library.json). With --stamps it is built of Debian's packages (make objects fetches them); without, a folder that somebody
laid out gets its library.json: things without a line are added and split by the stated rule. --train-… adds sounds to
train on; the other parts stay as they are."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "objects"), help="what to do")
    parser.add_argument(
        "root", metavar="ROOT", help="the folder of the data set (or the one above it), or of the library"
    )
    parser.add_argument(
        "--layout", choices=("auto", "s4", "ms3", "avss"), default="auto", help="check: needed where several are there"
    )
    parser.add_argument("--stamps", metavar="DIR", help="objects: the package tuxpaint-stamps-default, unpacked")
    parser.add_argument("--soundfont", metavar="FILE", help="objects: General MIDI (.sf2), rendered by fluidsynth")
    parser.add_argument(
        "--backgrounds", metavar="DIR", action="append", default=[], help="objects: searched for photographs; repeat"
    )
    parser.add_argument(
        "--train-sounds", metavar="DIR", action="append", default=[], help="objects: further sounds to train on; repeat"
    )
    parser.add_argument(
        "--train-voices", metavar="DIR", action="append", default=[], help="objects: a folder a speaker; repeat"
    )
    parser.add_argument("--train-soundfont", metavar="FILE", help="objects: its programs that no other split plays")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of a table")


def run(args: argparse.Namespace) -> int:
    return _objects(args) if args.action == "objects" else _check(args)


def _objects(args: argparse.Namespace) -> int:
    from ..datasets.objects.build import build_library
    from ..datasets.objects.table import describe_library

    if args.stamps:
        library = build_library(
            args.root,
            stamps=args.stamps,
            soundfont=args.soundfont,
            backgrounds=args.backgrounds,
            further=_further(args),
            progress=lambda text: say(f"  {text}", file=sys.stderr),
        )
    elif args.soundfont or args.backgrounds or _further(args):
        raise CoPropError(
            "--soundfont, --backgrounds and --train-… go with --stamps DIR; a folder of your own is described as it is."
        )
    else:
        library = describe_library(args.root)
    counts, classes = library.counts(), len(library.class_ids)
    if args.json:
        print(json.dumps({"root": str(library.root), "classes": classes, "things": counts}, indent=2))
        return 0
    for group, splits in counts.items():
        say(f"{group:12s} " + ", ".join(f"{split} {count}" for split, count in splits.items()))
    say(f"{library.root}: {classes} classes")
    return 0


def _further(args: argparse.Namespace) -> Further | None:
    from ..datasets.objects.further import Further

    if not (args.train_sounds or args.train_voices or args.train_soundfont):
        return None
    soundfont = Path(args.train_soundfont) if args.train_soundfont else None
    return Further([*map(Path, args.train_sounds)], [*map(Path, args.train_voices)], soundfont)


def _check(args: argparse.Namespace) -> int:
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
