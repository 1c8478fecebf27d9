"""The folder of a run: what is done lies there whole, one run at a time writes, and the same run may go on.

::

    run.json                        what is run (no time, host or place)
    run.log                         times, hosts and places, one JSON line an event
    masks/<method>/<video>/<k>.png  refined masks; masks/<method> is a folder of predictions again
    scores/<method>/<video>.npz     refined probabilities, where asked for
    records/<method>/<video>.json   sums of the scores, control points, hashes: written last, so it says "done"
    failed/<method>/<video>.json    why a video failed
    comparison.{json,csv,tex,txt}  index.html  pages/<method>/<video>.html

A run folder may come from elsewhere: nothing in it is written, emptied or removed through a link, a record counts only
with the checksum of its whole content, and what is odd (an empty record, a folder in place of a file) is done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files import Folder, atomic_write, check_new_folder, parse_json, read_bytes, read_json
from ..files.schema import Anything, ListOf, MapOf, Maybe, Record, Text, Whole
from . import barriers
from .plan import FORMAT, Task

MANIFEST = "run.json"
_STAGE = ".stage"
_SUM = b'{"sha256":"'  # a record begins with the checksum of all that follows it
_SUM_BYTES = len(_SUM) + 64 + 2
_SIDE = Record(
    needed={
        "class_ids": ListOf(Whole(0, 1 << 31), least=1),
        "frames": Whole(1, 1 << 31),
        "unlabelled": Whole(0, 1 << 31),
        "scores": Text(),
        "truth_size": ListOf(Whole(1, 1 << 31), least=2, most=2),
        "control_points": Text(),
        "truth_control_points": Text(),
        "sums": MapOf(Maybe(MapOf(Anything()))),
    },
    free={"format": Whole(), "notes": ListOf(Text())},
)
_RECORD = Record(
    needed={
        "video": Text(),
        "inputs": MapOf(Text()),
        "outputs": MapOf(Text()),
        "before": _SIDE,
        "after": _SIDE,
        "control_points": MapOf(Anything()),
        "segments": ListOf(ListOf(Maybe(Whole(0, 1 << 31)), least=3, most=3), least=1),
        "changed_frames": ListOf(Whole(0, 1 << 31)),
        "notes": ListOf(Text()),
        "why": ListOf(Text()),
    }
)
_FAILURE = Record(needed={"video": Text(), "error": Text()})


class RunFolder:
    """Paths, manifest, records and log of a run.

    Everything that is changed in it goes through ``inside``, by the names that the methods ``…_name`` give.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.inside = Folder(self.path)

    def masks(self, task: Task) -> Path:
        return self.path / self.masks_name(task)

    def scores(self, task: Task) -> Path:
        return self.path / self.scores_name(task)

    def record(self, task: Task) -> Path:
        return self.path / self.record_name(task)

    def failure(self, task: Task) -> Path:
        return self.path / self.failure_name(task)

    def page(self, task: Task) -> Path:
        return self.path / self.page_name(task)

    def masks_name(self, task: Task) -> str:
        return f"masks/{task.source.name}/{task.video.video_id}"

    def scores_name(self, task: Task) -> str:
        return f"scores/{task.source.name}/{task.video.video_id}.npz"

    def record_name(self, task: Task) -> str:
        return f"records/{task.source.name}/{task.video.video_id}.json"

    def failure_name(self, task: Task) -> str:
        return f"failed/{task.source.name}/{task.video.video_id}.json"

    def page_name(self, task: Task) -> str:
        return f"pages/{task.source.name}/{task.video.video_id}.html"

    def stage_name(self, task: Task) -> str:
        """Where the files of a video are written before they are moved to their places."""
        return f"{_STAGE}/{task.source.name}/{task.video.video_id}"

    def make_stage(self, task: Task) -> Path:
        """A new, empty folder of :meth:`stage_name`."""
        return self.inside.make(self.stage_name(task), fresh=True)

    def move(self, source: str, target: str, barrier: str) -> None:
        """Put a staged file or folder in its place, at once and whole."""
        if self.inside.is_folder(target):
            self.inside.remove(target)
        self.inside.move(source, target)
        barriers.reached(barrier)

    def withdraw(self, task: Task) -> None:
        """Take away what an earlier success of a video left."""
        self.inside.remove(self.scores_name(task))
        self.inside.remove(self.masks_name(task))

    def read_record(self, task: Task) -> dict[str, Any] | None:
        """The record of a video, ``None`` where there is none, or none that can be believed: then it is done again."""
        try:
            content = read_bytes(self.record(task), what="a record", links=False)
            told, body = content[:_SUM_BYTES], content[_SUM_BYTES:]
            if told != _checksum(body):
                return None
            found: dict[str, Any] = parse_json(b"{" + body, where="a record", form=_RECORD, nan=True)
        except CoPropError:
            return None
        return found if found["video"] == task.video.video_id else None

    def read_failure(self, task: Task) -> str | None:
        """Why a video failed, ``None`` where it did not, or where the note says nothing that can be read."""
        try:
            told = read_json(self.failure(task), form=_FAILURE, what="a note of a failure", links=False)
        except CoPropError:
            return None
        return str(told["error"])

    def note_failure(self, task: Task, error: str) -> None:
        """Say in the folder that the video failed; nothing of an earlier success stays beside it."""
        self.inside.remove(self.record_name(task))
        self.withdraw(task)
        note = self.make_stage(task) / "failed.json"
        error = error.encode("utf-8", "backslashreplace").decode()
        note.write_bytes(json_bytes({"video": task.video.video_id, "error": error}))
        self.move(f"{self.stage_name(task)}/failed.json", self.failure_name(task), "failure noted")
        self.inside.remove(self.stage_name(task))

    def begin(self, manifest: Mapping[str, Any]) -> bool:
        """Write the manifest, or find that the run in this folder is the same one; returns whether it goes on.

        Leftovers of a run that was killed are cleared away.

        Raises:
            CoPropError: the folder holds other things, or a run with other settings.
        """
        self.check()
        known = self.manifest()
        if known is not None and known != manifest:
            raise CoPropError(
                f"'{self.path}' holds a run with other settings: {'; '.join(_differences(known, manifest)[:4])}. "
                "Give the settings of that run to go on with it, or name a new folder."
            )
        for kind in ("masks", "scores", "records", "failed", "pages"):
            for method in manifest.get("methods", ()):
                self.inside.check(f"{kind}/{method['name']}/x")  # a link there ends the run before it changes anything
        self.clear()
        if known is None:
            with atomic_write(self.path / MANIFEST) as file:
                file.write(json_bytes(manifest))
            barriers.reached("manifest written")
        return known is not None

    def check(self) -> None:
        """Refuse a folder of something else.

        Raises:
            CoPropError: it is a file, the working folder or one above it, or holds other things and no run.
        """
        check_new_folder(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise CoPropError(f"'{self.path}' is a file; a run needs a folder.")
        visible = sorted(p.name for p in self.path.iterdir() if p.name[0] != ".") if self.path.exists() else []
        if visible and self.manifest() is None:
            raise CoPropError(
                f"'{self.path}' holds other things ({', '.join(visible[:5])}{', …' if len(visible) > 5 else ''}) and "
                f"no {MANIFEST} of a re-scoring run. Name a new or an empty folder."
            )

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, ``None`` where there is none of ours."""
        try:
            told = read_json(self.path / MANIFEST, what="a run's manifest", links=False)
        except CoPropError:
            return None
        return told if isinstance(told, dict) and told.get("format") == FORMAT else None

    def log(self, event: str, **facts: Any) -> None:
        """Append what happened, where and when; nothing else of a run depends on the log."""
        line = {"time": datetime.now(UTC).isoformat(), "host": platform.node(), "event": event, **facts}
        self.inside.append("run.log", json.dumps(line, default=str) + "\n")

    def clear(self) -> None:
        """Take away what is no part of a run: staged videos, and half-written files of a run that was killed."""
        self.inside.remove(_STAGE)
        for places in (self.path.glob(".*.part"), (self.path / "pages").glob("*/.*.part")):
            for leftover in places:
                with contextlib.suppress(FileNotFoundError):
                    self.inside.remove(leftover.relative_to(self.path).as_posix())


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """A record with the checksum of its content before it; still one JSON object."""
    body = json_bytes(record, indent=None)[1:]
    return _checksum(body) + body


def _checksum(body: bytes) -> bytes:
    return _SUM + hashlib.sha256(body).hexdigest().encode() + b'",'


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:
    """JSON whose bytes depend on the value alone; without an indent it is written ten times as fast."""
    text = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "backslashreplace")  # half a surrogate pair becomes JSON's own escape


def _differences(known: Any, wanted: Any, where: str = "") -> list[str]:
    """``name: value there, value here`` of everything that differs."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        keys = sorted({*known, *wanted})
        return [d for k in keys for d in _differences(known.get(k), wanted.get(k), f"{where}.{k}" if where else k)]
    if known == wanted:
        return []
    there, here = (json.dumps(value) for value in (known, wanted))
    return [f"{where} is {there[:80]} there, {here[:80]} here"]
