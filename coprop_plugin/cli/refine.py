"""``coprop refine``: one clip, one base model, aligned masks, scores and a report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .terminal import console

if TYPE_CHECKING:
    from ..structures import Clip, Prediction, Result

MAX_WHY_LINES = 12  # on the terminal
HELP = "Mend the masks of one clip so that they start and stop with the sound; without masks, look for what is heard."
EXAMPLES = """\
  coprop refine video.mp4 -o out/
  coprop refine video.mp4 --masks preds/ -o out/
  coprop refine video.mp4 --masks preds/ --truth gt/ -o out/
  coprop refine frames/ --audio sound.wav --masks scores.npz --kind logit --classes avsbench -o out/
  coprop refine video.mp4 --masks preds/ --fusion replace --control-points file:path=points.json -o out/
  coprop refine --config run.yaml"""

PROTOCOLS = ("avsbench", "alignment")


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_clip(parser)
    options.add_base(parser)
    options.add_method(parser)
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--out", metavar="DIR", required=True, help="a new or empty folder, or an earlier result")
    output.add_argument("--truth", metavar="PATH", help="true masks, to score before and after")
    output.add_argument("--truth-ids", metavar="A:B,…", help="--ids of the true masks")
    output.add_argument(
        "--protocol", action="append", metavar="NAME", help="scoring protocol (default: avsbench, alignment)"
    )
    output.add_argument("--scores", choices=("float32", "float16", "none"), default="float32", help="stored scores")
    output.add_argument(
        "--also",
        metavar="FORM",
        action="append",
        choices=("coco", "youtube-vis"),
        help="masks as run lengths in JSON too",
    )
    output.add_argument("--no-overlay", dest="overlay", action="store_false", help="write no overlay video")
    output.add_argument("--no-report", dest="report", action="store_false", help="write no HTML report")
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    from ..adapters.base import Adapter
    from ..report.folder import save
    from ..store import check_output, check_storable

    # What can be refused is refused before the work begins.
    check_output(args.out)
    if args.truth or args.protocol:
        from ..metrics.table import protocols  # imports torch: what is not scored does without

        protocols(args.protocol or PROTOCOLS)
    clip = options.clip_of(args)
    base = options.base_of(args, clip)
    check_storable(base.class_ids)
    if isinstance(base, Adapter):
        base.keep_in(args.out)
    method = options.method_of(args)
    truth = options.truth_of(args, clip) if args.truth else None
    result = method(clip, base, mode=args.mode)
    rows = _scores(result, truth, args, clip) if truth else []
    settings = _settings(args, clip)
    roles = {"source": args.source, "audio": args.audio, "masks": args.masks, "truth": args.truth}
    save(
        result,
        args.out,
        clip=clip,
        truth=truth,
        score_table=rows,
        settings=settings,
        inputs={role: path for role, path in roles.items() if path},
        scores=args.scores,
        overlay=args.overlay,
        page=args.report,
        also=args.also or (),
    )
    render(result, clip, rows, Path(args.out), as_json=args.json, report=args.report and args.mode == "clip")
    return 0


def _scores(result: Result, truth: Prediction, args: argparse.Namespace, clip: Clip) -> list[dict[str, Any]]:
    """Rows of protocol, metric, base and refined; a base model run at keyframes alone has no score."""
    from ..metrics.compare import score_rows

    return score_rows(
        result.base if args.mode == "clip" else None,
        result.prediction,
        truth,
        protocols=args.protocol or PROTOCOLS,
        video_id=clip.clip_id,
        control_points=result.control_points,
    )


def _settings(args: argparse.Namespace, clip: Clip) -> dict[str, Any]:
    """The resolved configuration: what would be typed again, without places of this machine."""
    places = {"source", "audio", "masks", "truth", "adapter_config", "adapter_checkpoint", "propagator_checkpoint"}
    given = {k: v for k, v in vars(args).items() if k not in {"out", "json", "config"} and v is not None}
    settings = {k: Path(v).name if k in places else v for k, v in given.items()}
    return settings | {"sampling": str(clip.time_base.sampling)}


def render(result: Result, clip: Clip, rows: list[dict[str, Any]], out: Path, *, as_json: bool, report: bool) -> None:
    """What the user reads on the terminal."""
    if as_json:
        told = {
            "clip": clip.clip_id,
            "frames": clip.num_frames,
            "sampling": str(clip.time_base.sampling),
            "control_points": [int(flag) for flag in result.control_points.flags],
            "origin": result.control_points.origin.generator,
            "changed_frames": list(result.changed),
            "notes": list(result.notes),
            "why": list(result.why),
            "scores": rows,
            "out": str(out),
        }
        print(json.dumps(told, indent=2))
        return
    from .tables import score_table, segment_table

    terminal = console()
    sampling = clip.time_base.sampling
    terminal.print(f"{clip.clip_id}: {clip.num_frames} frames, sampling {sampling}")
    terminal.print(segment_table(result.segments, clip))
    for note in result.notes:
        terminal.print(f"note: {note}")
    for line in result.why[:MAX_WHY_LINES]:
        terminal.print(f"why: {line}")
    if len(result.why) > MAX_WHY_LINES:
        terminal.print(f"why: {len(result.why) - MAX_WHY_LINES} more lines in {out / 'run.json'} and the report")
    changed = ", ".join(map(str, result.changed)) or "none"
    terminal.print(f"{len(result.changed)} of {clip.num_frames} frames changed ({changed})")
    if rows:
        terminal.print(score_table(rows))
    terminal.print(f"written to {out}/" + (f"; open {out / 'report.html'}" if report else ""), soft_wrap=True)
