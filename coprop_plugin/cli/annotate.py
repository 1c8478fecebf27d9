"""``coprop annotate``: the training clips of a benchmark as examples for an audio language model."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from .terminal import console, say

HELP = (
    "Write the control points and categories of a benchmark's training clips, for --control-points rcpg:examples=FILE. "
    "`coprop annotate prompts --help`: what a model says of every video, for --adapter ssp."
)
SUBJECTS = {"prompts": "annotate_prompts"}
EXAMPLES = """\
  coprop annotate data/AVSBench-semantic -o D.json
  coprop annotate data/ --layout s4 -o D.json --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", help="folder of the benchmark")
    parser.add_argument("--layout", choices=("auto", "s4", "ms3", "avss"), default="auto", help="which of the three")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="the document, JSON, an entry a line")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of text")


def run(args: argparse.Namespace) -> int:
    from rich.progress import Progress

    from ..control_points.language.document import annotate, write_document
    from ..datasets.avsbench import open_dataset

    dataset = open_dataset(args.root, layout=args.layout)
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("training clips", total=None)
        document = annotate(dataset, progress=lambda done, total: bar.update(task, completed=done, total=total))
    write_document(document, args.out)
    facts = {
        "layout": document.layout,
        "clips": len(document.entries),
        "clips_with_changes": sum(sum(entry.flags) > 1 for entry in document.entries),
        "categories": dict(sorted(Counter(name for e in document.entries for name in e.categories or ()).items())),
        "version": document.version,
        "notes": list(document.notes),
        "written": args.out,
    }
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    say(
        f"{facts['clips']} training clips of {document.layout}, {facts['clips_with_changes']} with changes, "
        f"{len(document.vocabulary)} categories; version {document.version[:12]}, written to {args.out}"
    )
    for note in document.notes:
        say(f"note: {note}")
    return 0
