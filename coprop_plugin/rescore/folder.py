"""The folder of a run: what is done lies there whole, one run at a time writes, and the same run may go on.

::

    run.json                        what is run (no time, host or place)
    run.log                         times, hosts and places, one JSON line an event
    masks/<method>/<video>/<k>.png  refined masks; masks/<method> is a folder of predictions again
    scores/<method>/<video>.npz     refined probabilities, where asked for
    records/<method>/<video>.json   sums of the scores, control points, hashes: written last, so it says "done"
    failed/<method>/<video>.json    why a video failed
    comparison.{json,csv,tex,txt}  index.html  pages/<method>/<video>.html
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..media.files import atomic_write
from . import barriers
from .plan import FORMAT, Task

MANIFEST = "run.json"
_STAGE = ".stage"


class RunFolder:
    """Paths, manifest, records and log of a run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def masks(self, task: Task) -> Path:
        return self.path / "masks" / task.source.name / task.video.video_id

    def scores(self, task: Task) -> Path:
        return self.path / "scores" / task.source.name / f"{task.video.video_id}.npz"

    def record(self, task: Task) -> Path:
        return self.path / "records" / task.source.name / f"{task.video.video_id}.json"

    def failure(self, task: Task) -> Path:
        return self.path / "failed" / task.source.name / f"{task.video.video_id}.json"

    def page(self, task: Task) -> Path:
        return self.path / "pages" / task.source.name / f"{task.video.video_id}.html"

    def stage(self, task: Task) -> Path:
        """Where the files of a video are written before they are moved to their places."""
        return self.path / _STAGE / task.source.name / task.video.video_id

    def withdraw(self, task: Task) -> None:
        """Take away what an earlier success of a video left."""
        self.scores(task).unlink(missing_ok=True)
        shutil.rmtree(self.masks(task), ignore_errors=True)

    def note_failure(self, task: Task, error: str) -> None:
        """Say in the folder that the video failed; nothing of an earlier success stays beside it."""
        self.record(task).unlink(missing_ok=True)
        self.withdraw(task)
        shutil.rmtree(self.stage(task), ignore_errors=True)
        note = self.stage(task) / "failed.json"
        note.parent.mkdir(parents=True)
        note.write_bytes(json_bytes({"video": task.video.video_id, "error": error}))
        move(note, self.failure(task), "failure noted")
        note.parent.rmdir()

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
        self._clear()
        if known is None:
            with atomic_write(self.path / MANIFEST) as file:
                file.write(json_bytes(manifest))
            barriers.reached("manifest written")
        return known is not None

    def check(self) -> None:
        """Refuse a folder of something else.

        Raises:
            CoPropError: it is a file, or holds other things and no run.
        """
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
            told = json.loads((self.path / MANIFEST).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) and told.get("format") == FORMAT else None

    def log(self, event: str, **facts: Any) -> None:
        """Append what happened, where and when; nothing else of a run depends on the log."""
        line = {"time": datetime.now(UTC).isoformat(), "host": platform.node(), "event": event, **facts}
        with (self.path / "run.log").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def _clear(self) -> None:
        """What a killed run left behind: staged videos and half-written files."""
        shutil.rmtree(self.path / _STAGE, ignore_errors=True)
        for places in (self.path.glob(".*.part"), (self.path / "pages").glob("*/.*.part")):
            for leftover in places:
                leftover.unlink(missing_ok=True)


def move(source: Path, target: Path, barrier: str) -> None:
    """Put a staged file or folder in its place, at once and whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    barriers.reached(barrier)


class Lock:
    """A run folder held by one run: while it or a worker of it lives, no other run may write there.

    The system gives the lock back when the last process that holds it ends, however it ends, so no lock outlives its
    run. Processes that are started with the lock among their arguments hold it too.
    """

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self._file_descriptor),)


def _received(duplicate: Any) -> Lock:
    return Lock(duplicate.detach())


@contextlib.contextmanager
def locked(folder: RunFolder, *, wait_s: float = 5.0) -> Iterator[tuple[Lock, str | None]]:
    """Hold the folder; gives the lock, and a sentence about the run before where that one was killed.

    Args:
        folder: it is made where it does not exist.
        wait_s: how long to wait for the workers of a run that was killed, which end by themselves.

    Raises:
        CoPropError: another run holds it; the message says which, and what to do.
    """
    folder.check()
    folder.path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        before = _holder(descriptor)
        _hold(descriptor, folder.path, wait_s)
        _tell(descriptor, {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat()})
        stale = None
        if before:
            stale = (
                f"the run before (process {before.get('pid')} on {before.get('host')}, since {before.get('since')}) "
                "did not end by itself; what it finished is whole, and this run goes on from there"
            )
        yield Lock(descriptor), stale
        _tell(descriptor, None)
    except Exception:
        if _is_ours(descriptor):
            _tell(descriptor, None)
        raise
    finally:
        os.close(descriptor)


def _hold(descriptor: int, path: Path, wait_s: float) -> None:
    import fcntl
    import time

    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(descriptor) or {}
            here = holder.get("host") == platform.node()
            alive = not here or _alive(holder.get("pid"))
            if alive or time.monotonic() > deadline:
                raise CoPropError(_explanation(path, holder, here=here, alive=alive)) from None
            time.sleep(0.05)
        except OSError as error:
            raise CoPropError(
                f"'{path}': its file system knows no locks ({error.strerror}), so two runs could write there at once. "
                "Name a folder on a local disk."
            ) from error


def _explanation(path: Path, holder: Mapping[str, Any], *, here: bool, alive: bool) -> str:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
    if alive:
        ends = "" if here else " on that host"
        return f"'{path}' is being written by another run ({who}). Wait for it or end it{ends}, or name another folder."
    return (
        f"'{path}' is still held, though the run that took it ({who}) is gone: one of its workers has not ended. "
        "Workers end by themselves within seconds; look for one that hangs, or name another folder."
    )


def _holder(descriptor: int) -> dict[str, Any] | None:
    try:
        told = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _is_ours(descriptor: int) -> bool:
    holder = _holder(descriptor) or {}
    return holder.get("pid") == os.getpid() and holder.get("host") == platform.node()


def _tell(descriptor: int, holder: Mapping[str, Any] | None) -> None:
    os.ftruncate(descriptor, 0)
    if holder:
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:
    """JSON whose bytes depend on the value alone; without an indent it is written ten times as fast."""
    text = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "surrogateescape")


def _differences(known: Any, wanted: Any, where: str = "") -> list[str]:
    """``name: value there, value here`` of everything that differs."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        keys = sorted({*known, *wanted})
        return [d for k in keys for d in _differences(known.get(k), wanted.get(k), f"{where}.{k}" if where else k)]
    if known == wanted:
        return []
    there, here = (json.dumps(value) for value in (known, wanted))
    return [f"{where} is {there[:80]} there, {here[:80]} here"]
