"""``coprop data keyframes``: the keyframe subset of a data set, as a list that ``coprop train kpf`` takes."""

from __future__ import annotations

import argparse
import json
import sys

from .. import parts
from ..datasets.made import FORMS
from . import options
from .synth import size_of
from .terminal import console, say

HELP = """List the keyframes of a data set: the first frames of the segments between control points (paper section 3.3).
The keyframe processor is fine-tuned on them: coprop train kpf --keyframes FILE."""
EXAMPLES = """\
  coprop data keyframes AVSBench/Multi-sources --control-points truth -o ms3.json
  coprop data keyframes AVSBench/Multi-sources --control-points rcpg --lm-model Qwen2-Audio-7B-Instruct -o ms3.json
  coprop data keyframes objects:objects/lib:train:moc:0-999 --control-points boundary -o moc.json

RCPG's answers are kept (coprop cache): what was asked once is not asked again; rcpg:replay=answers.json repeats recorded
ones."""


def configure(parser: argparse.ArgumentParser) -> None:
    forms = FORMS.replace("%", "%%")
    parser.add_argument("source", metavar="DATA", help=f"folder of a data set; {forms}")
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the list, as JSON")
    parser.add_argument("--split", default="train", help="of a data set (train)")
    parser.add_argument("--size", default="224x224", metavar="HxW", help="of made frames (224x224)")
    group = parser.add_argument_group("control points", f"{parts.RULE} Besides: truth, those of the true masks.")
    options.add_generator(group)
    options.add_language(group)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from rich.progress import track

    from ..training.keyframes import TRUE, find_keyframes
    from ..training.sources import open_source

    given = options.control_points_of(args)
    generator = None if given == TRUE else parts.build("control_points", given)
    source = open_source(args.source, size=size_of(args.size), split=args.split)
    found = find_keyframes(
        source,
        generator,
        name=given if isinstance(given, str) else json.dumps(given, sort_keys=True),
        progress=lambda items: track(items, "listening", console=console(stderr=True)),
    )
    found.keyframes.write(args.out)
    told = {
        "clips": len(found.keyframes.frames),
        "frames": found.num_frames,
        "keyframes": found.num_keyframes,
        "with masks": found.masked,
        "notes": dict(found.notes),
    }
    if args.json:
        print(json.dumps(told, indent=2))
        return 0
    say(
        f"{args.out}: {told['keyframes']} keyframes of {told['frames']} frames in {told['clips']} clips, "
        f"{found.num_keyframes / found.num_frames:.1%}; {found.masked} have masks"
    )
    for note, count in found.notes.items():
        say(f"note: {count} clips: {note}", file=sys.stderr)
    return 0
