"""``coprop report``: the HTML report of a refined clip, made again from its result folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError, PredictionError
from ..files import parse_json, read_json, read_text
from ..files.schema import ListOf, MapOf, Maybe, Number, Record, Text, Whole
from . import options
from .terminal import say

if TYPE_CHECKING:
    from ..structures import Clip, Prediction, Segment

HELP = "Make the HTML report again from what coprop refine stored."
EXAMPLES = """\
  coprop report out/
  coprop report out/ -o report.html --video moved/video.mp4
  coprop report out/ --truth labels/ --classes avsbench"""

_ROW = Record(
    needed={"protocol": Text(), "metric": Text()},
    free={"unit": Text(), "base": Maybe(Number()), "refined": Maybe(Number())},
    others=True,
)
_ROWS = ListOf(_ROW)
_READING = Record(
    free={
        **dict.fromkeys(("kind", "classes", "ids", "entry", "off_palette"), Maybe(Text())),
        **dict.fromkeys(("ignore", "first_index"), Maybe(Whole())),
    },
    others=True,
)
_LINE = Record(needed={"inputs": MapOf(Text())}, others=True)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", metavar="OUT_DIR", help="the folder that coprop refine wrote")
    options.add_renamed(
        parser,
        "-o",
        "--out",
        old="--output",
        dest="out",
        metavar="FILE",
        help="the report (default: OUT_DIR/report.html)",
    )
    parser.add_argument("--video", metavar="PATH", help="the clip, if it no longer lies where it was refined")
    parser.add_argument("--audio", metavar="FILE", help="its sound, likewise")
    parser.add_argument("--truth", metavar="PATH", help="true masks to show beside (default: those of the refinement)")
    options.add_reading(parser.add_argument_group("true masks"))
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of the path")


def run(args: argparse.Namespace) -> int:
    from ..report.html import write_report
    from ..store import read_result

    folder = Path(args.result)
    result = read_result(folder)
    if result.base is None:
        raise PredictionError(f"{folder}: the base prediction was not stored, so there is nothing to compare with.")
    settings = _section(folder, result.manifest, "configuration")
    places = _places(folder, args)
    clip = _clip(folder, result.manifest, places)
    written = write_report(
        args.out or folder / "report.html",
        clip=clip,
        base=result.base,
        refined=result.prediction,
        control_points=result.control_points,
        segments=_segments(folder, result.manifest.get("segments")),
        truth=_truth(places, clip, settings, args),
        scores=_scores(folder),
        settings={**settings, "versions": _section(folder, result.manifest, "versions")},
        notes=_notes(folder, result.manifest, places),
        why=_lines(folder, result.manifest, "why"),
    )
    say(json.dumps({"report": str(written)}) if args.json else str(written))
    return 0


def _places(folder: Path, args: argparse.Namespace) -> dict[str, str]:
    """Role -> where it lies: what the flags say, else what the log tells of the last run."""
    try:
        line = (read_text(folder / "run.log", what="the log of a result").splitlines() or [""])[-1]
        places = parse_json(line, where="the log's last line", form=_LINE)["inputs"]
    except CoPropError:
        places = {}
    places = {role: place for role, place in places.items() if role in ("source", "audio", "truth")}
    if args.video:
        places.pop("audio", None)  # a video brings its own sound, a folder of frames needs --audio
    given = {"source": args.video, "audio": args.audio, "truth": args.truth}
    return places | {role: path for role, path in given.items() if path}


def _clip(folder: Path, manifest: Mapping[str, Any], places: Mapping[str, str]) -> Clip:
    """The clip of the result."""
    from ..media.reader import read_clip

    source, described = places.get("source"), _section(folder, manifest, "clip")
    if not source or not Path(source).exists():
        raise CoPropError(
            f"{folder}: the clip {f'is not at {source!r}' if source else 'is not named in run.log'}; "
            "say where it lies with --video (and --audio for a folder of frames)."
        )
    return read_clip(
        source,
        audio=places.get("audio"),
        sampling=described.get("sampling", "avsbench"),
        silent_ok=True,  # whether silence is allowed was decided when the clip was refined; here it is only shown
        clip_id=described.get("clip_id"),
    )


def _truth(
    places: Mapping[str, str], clip: Clip, settings: Mapping[str, Any], args: argparse.Namespace
) -> Prediction | None:
    """The true masks, read as the flags say, else as they were when the clip was refined (``--ids`` is theirs here)."""
    if not (path := places.get("truth")):
        return None
    stored = {**{name: settings.get(name) for name in options.READING}, "ids": settings.get("truth_ids")}
    if fault := next(_READING.faults(stored, "configuration"), None):
        raise PredictionError(f"run.json: {fault}.")
    given = {name: getattr(args, name, None) for name in options.READING}  # here --ids are those of the truth
    reading = {name: stored[name] if value is None else value for name, value in given.items()}
    return options.truth_of(argparse.Namespace(truth=path, truth_ids=reading["ids"], **reading), clip)


def _notes(folder: Path, manifest: Mapping[str, Any], places: Mapping[str, str]) -> list[str]:
    """What the refinement noted, and each input that is no longer what it was."""
    from ..store import digest

    inputs = _section(folder, manifest, "inputs")
    before = {role: _section(folder, inputs, role).get("digest") for role in places if role in inputs}
    changed = [role for role in before if digest(places[role]) != before[role]]
    return [
        *_lines(folder, manifest, "notes"),
        *(f"The {role} shown here is not the one that was refined: its content differs." for role in changed),
    ]


def _lines(folder: Path, manifest: Mapping[str, Any], name: str) -> list[str]:
    """A list of sentences in the manifest, which anyone may have edited."""
    lines = manifest.get(name, [])
    if not isinstance(lines, list):
        raise PredictionError(f"{folder}: '{name}' in run.json is no list; the result is damaged.")
    return list(map(str, lines))


def _section(folder: Path, manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One section of the manifest, which anyone may have edited."""
    section = manifest.get(name, {})
    if not isinstance(section, dict):
        raise PredictionError(f"{folder}: '{name}' in run.json is no object; the result is damaged.")
    return section


def _segments(folder: Path, stored: Any) -> tuple[Segment, ...] | None:
    """The segments with their anchors, as the manifest holds them."""
    from ..structures import Segment

    try:
        return (
            tuple(
                Segment(
                    **{
                        **item,
                        "categories": None if item["categories"] is None else tuple(map(str, item["categories"])),
                    }
                )
                for item in stored or ()
            )
            or None
        )
    except (TypeError, KeyError) as error:
        raise PredictionError(
            f"{folder}: run.json does not describe segments ({error}); the result is damaged."
        ) from error


def _scores(folder: Path) -> list[dict[str, Any]]:
    """The score rows that were stored with the result, if any."""
    path = folder / "scores.json"
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = read_json(path, form=_ROWS, what="a list of scores", error=PredictionError, nan=True)
    return rows
