"""``coprop demo``: makes an example, and mends it with the command that a user would type."""

from __future__ import annotations

import argparse
import shlex
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import say

if TYPE_CHECKING:
    from ..datasets.made import MadeClips

HELP = "The main job on an example made on the spot: a clip, a base model that is a frame late, the mended masks."
EXAMPLES = "  coprop demo\n  coprop demo -o demo --seed 4 --simulate linger:2"
VIDEO_HZ = 16  # frame k * 16 + 15 is shown at k + 15/16 s: the frame that the sampling avsbench takes


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", metavar="DIR", default="demo", help="folder for example and result (default: demo)"
    )
    parser.add_argument("--seed", type=int, default=14, help="of the example clip")
    parser.add_argument("--objects", metavar="LIBRARY", help="make the clip of a library's real things (its test part)")
    parser.add_argument(
        "--simulate", metavar="NAME:STRENGTH", default="lag:1", help="fault of the base model (lag, linger, early, …)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    from ..files import check_new_folder, locked

    out = check_new_folder(args.out)
    with locked(out):
        return _shown(args, out)


def _shown(args: argparse.Namespace, out: Path) -> int:
    from ..datasets.made import made_clips
    from .main import main

    example = out / "example"
    clips = made_clips(f"objects:{args.objects}:test:moc:{args.seed}-{args.seed}") if args.objects else None
    classes = make_example(example, seed=args.seed, simulate_as=args.simulate, clips=clips)
    command = [
        "refine",
        f"{example / 'video.mp4'}",
        "--masks",
        f"{example / 'preds'}",
        "--truth",
        f"{example / 'truth'}",
    ]
    command += ["--classes", ",".join(map(str, classes)), "--protocol", "headline", "-o", f"{out / 'out'}"]
    if args.json:
        command.append("--json")
    else:
        kind = "a clip of real things" if args.objects else "a synthetic clip"
        say(f"example: {example}/ ({kind}; base model simulated as {args.simulate})")
        say(f"$ coprop {shlex.join(command)}\n")
    return main(command)


def make_example(folder: Path, *, seed: int, simulate_as: str, clips: MadeClips | None = None) -> tuple[int, ...]:
    """Write ``video.mp4``, ``preds/`` and ``truth/`` of a clip (by formula, if none are given); returns the masks' classes."""
    from ..datasets.made import MadeClips
    from ..datasets.simulators import simulate
    from ..errors import CoPropError
    from ..media.video_writer import write_video
    from ..store import write_masks

    name, _, strength = simulate_as.partition(":")
    if not (strength or "1").isdigit():
        raise CoPropError(f"--simulate is NAME:STRENGTH, as lag:1; got '{simulate_as}'.")
    made = (clips or MadeClips("moc", range(seed, seed + 1))).make(seed, between_hz=VIDEO_HZ)
    assert made.clip.between is not None
    folder.mkdir(parents=True, exist_ok=True)
    frames = made.clip.between(-0.5 / VIDEO_HZ, made.clip.time_base.duration_s)
    write_video(folder / "video.mp4", frames, rate_hz=Fraction(VIDEO_HZ), sound=made.clip.sound)
    base = simulate(made.scene, name, strength=int(strength or 1), seed=seed)
    write_masks(folder / "preds", base)
    write_masks(folder / "truth", made.scene.truth())
    return made.scene.class_ids
