"""``coprop points``: where the set of sounding objects changes, as a table or as JSON to edit and use again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .. import parts
from ..errors import CoPropError
from . import options
from .terminal import console

if TYPE_CHECKING:
    from ..structures import Clip, ControlPoints

HELP = "Find the control points of a clip's sound: where the set of sounding objects changes."
EXAMPLES = """\
  coprop points video.mp4
  coprop points video.mp4 --sampling uniform:25 -o points.json
  coprop points sound.wav --json
  coprop points video.mp4 -o labels.txt        (to be edited in Audacity)
  coprop points video.mp4 --control-points cosine-logmel
  coprop points video.mp4 --control-points rcpg --lm-server http://127.0.0.1:8000/v1
  coprop points video.mp4 --control-points from_masks:truth=masks/
  coprop refine video.mp4 --masks preds/ --control-points file:path=points.json -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_clip(parser)
    group = parser.add_argument_group("method", parts.RULE)
    options.add_generator(group)
    options.add_language(group)
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="write them as JSON; Audacity labels (.txt), DCASE (.tsv), .rttm, .jams"
    )
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    from ..control_points.base import check_points

    generator = parts.build("control_points", options.control_points_of(args))
    if generator.wants_base:
        raise CoPropError(
            f"'{generator.name}' looks at a base model's masks, and none are given here; coprop refine has them."
        )
    clip = clip_or_sound(args)
    points = check_points(generator(clip), clip, by=generator.name)
    if args.out:
        from ..files import atomic_write

        with atomic_write(args.out, "w") as file:
            file.write(_written(points, clip, args.out))
    if args.json:
        print(points.to_json(), end="")
    else:
        render(points, clip, written=args.out)
    return 0


def _written(points: ControlPoints, clip: Clip, path: str) -> str:
    """The points in the form that the file's name asks for: JSON, or labels of what sounds when."""
    from pathlib import Path

    from ..control_points.interval_files import WRITERS, intervals_of

    write = WRITERS.get(Path(path).suffix.lower())
    if write is None:
        return points.to_json()
    return write(intervals_of(points, clip.time_base), clip.clip_id, float(clip.time_base.duration_s))


def clip_or_sound(args: argparse.Namespace) -> Clip:
    """The clip that the flags describe; a sound alone has windows of one second unless ``--sampling`` says otherwise."""
    from pathlib import Path

    from ..media.sniff import AUDIO_FAMILIES, sniff

    if not args.source or not Path(args.source).is_file() or sniff(args.source) not in AUDIO_FAMILIES:
        return options.clip_of(args)
    from ..control_points.sound_only import clip_of_sound
    from ..media.sound import read_track

    track = read_track(args.source)
    sampling = args.sampling or "avsbench"
    return clip_of_sound(track.sound, sampling=sampling, clip_id=Path(args.source).stem, notes=track.notes)


def render(points: ControlPoints, clip: Clip, *, written: str | None) -> None:
    """A line a segment: where it lies, and what is known of its sound."""
    from rich.table import Table

    from ..audio.level import level_of

    out = console()
    told = [points.origin.generator]
    if points.origin.fallback:
        told.append(f"fell back to {points.origin.fallback}")
    out.print(
        f"{clip.clip_id}: {clip.num_frames} frames, sampling {clip.time_base.sampling}, "
        f"control points by {', '.join(told)}"
    )
    table = Table("frames", "sound", "sounding", "confidence", box=None, pad_edge=False, header_style="bold")
    windows_s = clip.time_base.sound_window_s
    for segment in points.segments():
        frames = f"{segment.start}" if len(segment) == 1 else f"{segment.start} to {segment.stop - 1}"
        heard = {True: "silent", False: "yes", None: "-"}[segment.silent]
        table.add_row(
            frames,
            f"{windows_s[segment.start, 0]:.2f} to {windows_s[segment.stop - 1, 1]:.2f} s",
            ", ".join(segment.categories) if segment.categories else heard,
            "-" if points.confidence is None else f"{points.confidence[segment.start]:.2f}",
        )
    out.print(table)
    for note in (*clip.notes, *points.origin.notes, *filter(None, [level_of(clip.sound).note])):
        out.print(f"note: {note}")
    if written:
        out.print(f"written to {written}; edit it, then: --control-points file:path={written}")
