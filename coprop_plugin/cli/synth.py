"""``coprop synth``: a synthetic data set on disk, with exact masks and, if wanted, imperfect predictions."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from . import options
from .terminal import console, say

HELP = "Make audio-visual clips with exact masks and control points, in the layouts of AVSBench."
EXAMPLES = """\
  coprop synth sets/ms3 --like ms3 --videos 64 --seed 0
  coprop synth sets/moc --like moc --videos 20 --split test --simulate lag:1 --simulate flicker:2
  coprop synth sets/real --like moc --videos 20 --split test --objects objects/lib
  coprop refine sets/moc/AVSS/v2/moc_0000000_0_10000/frames \\
      --audio sets/moc/AVSS/v2/moc_0000000_0_10000/audio.wav --classes avsbench \\
      --masks sets/moc/predictions/lag-1/moc_0000000_0_10000 -o out/

kinds: s4 (5 s, one source), ms3 (5 s, several, 17 in 64 change), avss (10 s, classes), moc (10 s, at least 3 changes;
in the AVSS layout). The masks of --simulate are those of a base model that errs in one way:
perfect, lag, linger, early, flicker, ignore_sound, leak, coarse; K is frames, objects or a share."""

MIN_SIDE_PX, MAX_SIDE_PX = 32, 4096  # made clips have 32 at least


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="a new folder")
    kinds = ("s4", "ms3", "avss", "moc")
    options.add_renamed(
        parser, "--like", old="--kind", dest="kind", choices=kinds, default="moc", help="which benchmark's clips (moc)"
    )
    parser.add_argument("--videos", type=int, default=16, metavar="N", help="how many (default 16)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default 0)")
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="train, val or test; repeat for several (default: all three)"
    )
    parser.add_argument("--size", default="224x224", metavar="HxW", help="of the frames in pixels (default 224x224)")
    parser.add_argument(
        "--onsets",
        choices=("grid", "free"),
        help="sounds change at full seconds (default), or up to a quarter of a second away from there",
    )
    parser.add_argument(
        "--simulate", action="append", default=[], metavar="NAME[:K]", help="save a simulated base model's masks too"
    )
    parser.add_argument(
        "--objects",
        metavar="LIBRARY",
        help="make the clips of a library's real things (coprop data objects), each split of its own part",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of a line")


def run(args: argparse.Namespace) -> int:
    from rich.progress import track

    from ..datasets.objects.library import open_library
    from ..datasets.write import Simulation, write_dataset

    simulations = [Simulation.parse(text) for text in args.simulate]
    dataset = write_dataset(
        args.output,
        kind=args.kind,
        videos=args.videos,
        seed=args.seed,
        splits=tuple(args.split or ("train", "val", "test")),
        size=size_of(args.size),
        onsets=args.onsets,
        objects=None if args.objects is None else open_library(args.objects),
        simulations=simulations,
        progress=lambda videos: track(videos, "writing clips", console=console(stderr=True)),
    )
    root = Path(args.output)
    made: dict[str, Any] = {
        "layout": dataset.layout.name,
        "data": str(dataset.data),
        "videos": {split: len(dataset.videos(split)) for split in dict.fromkeys(v.split for v in dataset.table)},
        "scenes": str(root / "scenes"),
        "predictions": [str(root / "predictions" / str(simulation)) for simulation in simulations],
    }
    counts = ", ".join(f"{split} {count}" for split, count in made["videos"].items())
    say(json.dumps(made, indent=2) if args.json else f"{dataset.data}: {len(dataset.table)} videos ({counts})")
    return 0


def size_of(text: str) -> tuple[int, int]:
    """``"224x224"`` as height and width."""
    height, cross, width = str(text).partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise CoPropError(f"--size is height x width in pixels, as 224x224; got '{text}'.")
    size = int(height[:9]), int(width[:9])
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in size):
        raise CoPropError(f"--size has sides of {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels; got '{text[:40]}'.")
    return size
