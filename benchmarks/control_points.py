"""Control points on real sounds: every generator on what none was trained on, and which changes are missed.

    python benchmarks/control_points.py objects/lib --composed CLIPS --recordings AUDIO --events EVENTS.json
    python benchmarks/control_points.py objects/lib … --generators boundary:yamnet=True tagger:model=yamnet --clips 60

The library's clips are of its test part (kind moc; all casts, voices from off-screen count as sources). Rows are stored in
results/control_points.json, one a set and generator, and replaced when they are measured again; the table in RESULTS.md is written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pages import put

from coprop_plugin.control_points.base import ControlPointGenerator
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.objects.clips import make_object_sound
from coprop_plugin.datasets.objects.library import Library, open_library
from coprop_plugin.files import atomic_write
from coprop_plugin.parts import build
from coprop_plugin.structures import ControlPoints
from coprop_plugin.study.clips import Known, composed_clips, sound_clips
from coprop_plugin.study.points import Tally
from coprop_plugin.training.boundary import calibration_error

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results/control_points.json"
GENERATORS = ("changepoint", "cosine-logmel", "boundary")
KINDS = ("begins", "ends", "joins", "leaves", "follows", "other")
COLUMNS = {"F1@0": "F1@0", "F1@1": "F1@1", "precision@0": "precision", "recall@0": "recall", "error_s": "onset error s"}
WHOLE = {"cpu_ms": "CPU ms a clip", "calibration_error": "calibration error"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("library", help="a library of objects (make objects)")
    parser.add_argument("--composed", help="a folder of composed clips")
    parser.add_argument("--recordings", help="a folder of recordings, with --events")
    parser.add_argument("--events", help="when what sounds in the recordings (JSON)")
    parser.add_argument("--generators", nargs="+", default=GENERATORS, metavar="NAME[:k=v,…]")
    parser.add_argument("--clips", type=int, default=200, help="of the library's test part, from seed 0 on")
    arguments = parser.parse_args()
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    for name in arguments.generators:
        generator = build("control_points", name)
        for row in measured(generator, arguments):
            row = {"generator": name, **row}
            rows = [r for r in rows if (r["set"], r["generator"]) != (row["set"], name)] + [row]
            print(json.dumps(row), flush=True)
    rows.sort(key=lambda row: (row["set"] != "library", row["set"], row["generator"]))
    with atomic_write(RESULTS, "w") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")
    put(HERE / "RESULTS.md", "control points", table(rows))


def measured(generator: ControlPointGenerator, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each set."""
    yield {"set": "library"} | scored(generator, library_clips(open_library(arguments.library), arguments.clips))
    if arguments.composed:
        yield {"set": "composed"} | scored(generator, ((k, None) for k in composed_clips(arguments.composed)))
    if arguments.recordings:
        clips = sound_clips(arguments.recordings, arguments.events)
        yield {"set": "recordings"} | scored(generator, ((known, None) for known in clips))


def library_clips(library: Library, count: int) -> Iterator[tuple[Known, np.ndarray]]:
    """Clips of the test part, and ``(T, S)`` which source sounds in each frame."""
    for seed in range(count):
        heard = make_object_sound(library, seed, split="test", kind="moc")
        yield Known(clip_of_sound(heard.sound, clip_id=heard.name), heard.control_points()), heard.sounding


def scored(generator: ControlPointGenerator, clips: Iterator[tuple[Known, np.ndarray | None]]) -> dict[str, Any]:
    """The generator's scores; of made clips also how many changes of each kind it finds, and how far to trust it."""
    tally, chances, happened = Tally(), [], []
    found = {kind: [0, 0] for kind in KINDS}
    for known, sounding in clips:
        (points,) = tally.ask(generator, [known])
        if points.confidence is not None:
            chances += chances_of(points)
            happened += known.points.flags[1:].tolist()
        if sounding is not None:
            for t in np.flatnonzero(known.points.flags)[1:]:
                kind = found[kind_of(sounding[t - 1], sounding[t])]
                kind[0], kind[1] = kind[0] + int(points.flags[t]), kind[1] + 1
    row = tally.row()
    kept = ("clips", "changes_true", "changes_predicted", *COLUMNS, "cpu_ms")
    told = {name: rounded(row[name]) for name in kept}
    if chances:
        told["calibration_error"] = rounded(calibration_error(np.array(chances), np.array(happened)))
    if any(total for _, total in found.values()):
        told["found"] = found
    return told


def chances_of(points: ControlPoints) -> list[float]:
    """How probably each frame from the second on begins with a change."""
    assert points.confidence is not None
    return np.where(points.flags, points.confidence, 1 - points.confidence)[1:].tolist()


def kind_of(before: np.ndarray, after: np.ndarray) -> str:
    """What a change is: sound begins or ends; a source joins others, leaves them, or follows another one."""
    if not before.any() or not after.any():
        return "ends" if before.any() else "begins"
    if (after & before).sum() == min(before.sum(), after.sum()):
        return "joins" if after.sum() > before.sum() else "leaves"
    return "follows" if before.sum() == after.sum() == 1 else "other"


def rounded(value: float | int | None) -> float | int | None:
    return value if value is None or isinstance(value, int) else round(value, 4)


def table(rows: list[Mapping[str, Any]]) -> str:
    """In Markdown."""
    titles = ("set", "clips", "changes", "generator", *COLUMNS.values(), *WHOLE.values(), *KINDS)
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in rows:
        kinds = [
            f"{n / total:.2f}" if total else "" for n, total in row.get("found", dict.fromkeys(KINDS, (0, 0))).values()
        ]
        scores = [cell(row.get(name), 3) for name in COLUMNS]
        rest = [cell(row["cpu_ms"], 0), cell(row.get("calibration_error"), 3)]
        cells = [
            row["set"],
            str(row["clips"]),
            str(row["changes_true"]),
            f"`{row['generator']}`",
            *scores,
            *rest,
            *kinds,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
