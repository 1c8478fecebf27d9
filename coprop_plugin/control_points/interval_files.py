"""Sounding intervals as annotation tools keep them: Audacity labels and DCASE tables, read and written; RTTM and JAMS.

An interval stands for one source; where the set of sources changes there is a control point. A segment of which only
is known that something sounds is written as ``sound 1``, ``sound 2``, …, so that its ends come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CoPropError
from ..structures import ControlPoints, Origin, TimeBase
from .events import points_of_intervals

DECIMALS = 6
_UNNAMED = re.compile(r"sound \d+")
_ONSET = {"onset", "onset_s", "start", "event_onset", "start_time"}
_OFFSET = {"offset", "offset_s", "end", "stop", "event_offset", "end_time"}
_LABEL = {"event_label", "label", "class", "event"}
_FILE = {"filename", "file", "audio_filename"}


@dataclass(frozen=True)
class Interval:
    """One source sounds in ``[start_s, stop_s)``."""

    start_s: float
    stop_s: float
    label: str


def intervals_of(points: ControlPoints, time_base: TimeBase) -> tuple[Interval, ...]:
    """What sounds when, by the segments of control points; silent ones give nothing."""
    found: list[Interval] = []
    for i, segment in enumerate(points.segments()):
        if segment.silent:
            continue
        start_s = float(time_base.sound_window_s[segment.start, 0])
        stop_s = float(time_base.sound_window_s[segment.stop - 1, 1])
        for label in segment.categories or (f"sound {i + 1}",):
            before = next((k for k in found if k.label == label and abs(k.stop_s - start_s) < 1e-9), None)
            if before is not None:
                found[found.index(before)] = replace(before, stop_s=stop_s)
            else:
                found.append(Interval(start_s, stop_s, label))
    return tuple(sorted(found, key=lambda k: (k.start_s, k.stop_s, k.label)))


def points_of_file(text: str, time_base: TimeBase, *, clip_id: str, where: str) -> ControlPoints:
    """Control points of a file that is no JSON of ours: Audacity labels, or a DCASE table of strong labels.

    Args:
        text: the file.
        clip_id: whose rows are taken from a table of several files.
        where: names the file in messages.

    Raises:
        CoPropError: rows that are no intervals; RTTM or JAMS, which are written only; a table without this clip.
    """
    if text.startswith("SPEAKER "):
        raise CoPropError(f"{where}: is RTTM, which is written here and not read; give Audacity labels or a DCASE tsv.")
    if text.lstrip().startswith("{"):
        raise CoPropError(f"{where}: is JAMS, which is written here and not read; give Audacity labels or a DCASE tsv.")
    rows = [line.split("\t") for line in text.splitlines() if line.strip() and not line.startswith("\\")]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    if _ONSET & set(head):
        chosen = _table(rows[1:], head, clip_id, where)
    else:
        chosen = [_row(cells[0], cells[1], cells[2] if len(cells) > 2 else "", where) for cells in map(_padded, rows)]
    marks = [k.start_s for k in chosen if k.start_s == k.stop_s]
    sounding = [k for k in chosen if k.start_s < k.stop_s]
    if marks and not sounding:  # labels at points: the control points themselves
        return ControlPoints(time_base.flags_of_changes(marks), origin=Origin("labels"))
    sources: dict[str, list[list[float]]] = {}
    for k in sounding:
        sources.setdefault(k.label or "sound 1", []).append([k.start_s, k.stop_s])
    points = points_of_intervals(sources, time_base, bridged_s=0.0)
    named = tuple(None if any(map(_UNNAMED.fullmatch, c or ())) else c for c in points.categories or ())
    return replace(points, categories=named, origin=Origin("labels"))


def is_table(text: str) -> bool:
    """Whether a text looks like intervals: rows of numbers divided by tabs, a header of DCASE, or RTTM or JAMS."""
    if text.startswith("SPEAKER ") or (text.lstrip().startswith("{") and '"annotations"' in text):
        return True
    first = next((line for line in text.splitlines() if line.strip()), "").split("\t")
    return len(first) >= 2 and (bool(_ONSET & {c.strip().lower() for c in first}) or _is_number(first[0]))


def _padded(cells: list[str]) -> list[str]:
    return cells + [""] * (2 - len(cells))


def _table(rows: Sequence[Sequence[str]], head: Sequence[str], clip_id: str, where: str) -> list[Interval]:
    def column(names: set[str]) -> int | None:
        return next((i for i, cell in enumerate(head) if cell in names), None)

    onset, offset, label, file = map(column, (_ONSET, _OFFSET, _LABEL, _FILE))
    if onset is None or offset is None:
        raise CoPropError(f"{where}: a table of strong labels has the columns onset, offset, event_label; got {head}.")
    kept = [row for row in rows if len(row) > max(onset, offset)]
    if file is not None:
        files = {Path(row[file].strip()).stem for row in kept}
        if len(files) > 1 and clip_id not in files:
            raise CoPropError(
                f"{where}: holds {len(files)} files ({', '.join(sorted(files)[:5])}), none is the clip '{clip_id}'."
            )
        kept = [row for row in kept if len(files) == 1 or Path(row[file].strip()).stem == clip_id]
    named = [row[label] if label is not None and label < len(row) else "" for row in kept]
    return [_row(row[onset], row[offset], name, where) for row, name in zip(kept, named, strict=True)]


def _row(start: str, stop: str, label: str, where: str) -> Interval:
    if not (_is_number(start) and _is_number(stop) and 0 <= float(start) <= float(stop)):
        raise CoPropError(
            f"{where}: a row is 'start stop label', seconds divided by tabs, 0 <= start <= stop; got "
            f"'{start[:20]}', '{stop[:20]}'."
        )
    return Interval(float(start), float(stop), label.strip())


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*\d{1,7}([.]\d{1,15})?\s*", text) is not None


def audacity(intervals: Sequence[Interval], clip_id: str, duration_s: float) -> str:
    """Rows ``start<TAB>stop<TAB>label``, as Audacity exports labels."""
    return "".join(f"{k.start_s:.{DECIMALS}f}\t{k.stop_s:.{DECIMALS}f}\t{k.label}\n" for k in intervals)


def dcase(intervals: Sequence[Interval], clip_id: str, duration_s: float) -> str:
    """A table of strong labels as DCASE task 4 has them."""
    rows = [f"{clip_id}.wav\t{k.start_s:.{DECIMALS}f}\t{k.stop_s:.{DECIMALS}f}\t{k.label}\n" for k in intervals]
    return "filename\tonset\toffset\tevent_label\n" + "".join(rows)


def rttm(intervals: Sequence[Interval], clip_id: str, duration_s: float) -> str:
    """Rich transcription time marks; blanks in names become underscores."""

    def name(text: str) -> str:
        return "_".join(text.split()) or "_"

    return "".join(
        f"SPEAKER {name(clip_id)} 1 {k.start_s:.{DECIMALS}f} {k.stop_s - k.start_s:.{DECIMALS}f} <NA> <NA> "
        f"{name(k.label)} <NA> <NA>\n"
        for k in intervals
    )


def jams(intervals: Sequence[Interval], clip_id: str, duration_s: float) -> str:
    """A JAMS 0.3 document with one annotation in the open tag namespace."""
    data = [
        {"time": k.start_s, "duration": k.stop_s - k.start_s, "value": k.label, "confidence": None} for k in intervals
    ]
    annotation = {
        "namespace": "tag_open",
        "data": data,
        "annotation_metadata": {"data_source": "coprop-plugin"},
        "sandbox": {},
        "time": 0.0,
        "duration": duration_s,
    }
    meta = {
        "title": clip_id,
        "artist": "",
        "release": "",
        "duration": duration_s,
        "identifiers": {},
        "jams_version": "0.3.5",
    }
    return json.dumps({"annotations": [annotation], "file_metadata": meta, "sandbox": {}}, indent=1) + "\n"


WRITERS: dict[str, Callable[[Sequence[Interval], str, float], str]] = {
    ".txt": audacity,
    ".tsv": dcase,
    ".rttm": rttm,
    ".jams": jams,
}
