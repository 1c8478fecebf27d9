"""A folder held by one writer: while it or a worker of it lives, no other may write there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from .documents import parse_json
from .inside import Folder
from .schema import Maybe, Number, Record, Text

NAME = ".lock"
_HOLDER = Record(free={"pid": Maybe(Number()), "host": Maybe(Text()), "since": Maybe(Text())}, others=True)


class Lock:
    """The hold on a folder.

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
def locked(
    path: str | os.PathLike[str], *, wait_s: float = 5.0, patience_s: float = 0.0
) -> Iterator[tuple[Lock, str | None]]:
    """Hold a folder; gives the lock, and a sentence about the run before where that one was killed.

    Args:
        path: the folder; it is made where it does not exist.
        wait_s: how long to wait for the workers of a run that was killed, which end by themselves.
        patience_s: how long to wait for a run that goes on.

    Raises:
        CoPropError: another run holds it; the message says which, and what to do.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    descriptor = _open(Folder(path))
    try:
        _hold(descriptor, path, wait_s, patience_s)
        before = _holder(descriptor)  # who ends well leaves nothing there
        _tell(descriptor, {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat()})
        stale = None
        if before:
            stale = (
                f"the run before ({_who(before)}) did not end by itself; what it finished is whole, and this run goes on "
                "from there"
            )
        yield Lock(descriptor), stale
        _tell(descriptor, None)
    except Exception:
        if _is_ours(descriptor):
            _tell(descriptor, None)
        raise
    finally:
        os.close(descriptor)


def _open(folder: Folder) -> int:
    """The lock's file; whatever else has its name goes first, and nobody looks while that is done."""
    guard = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks is told by the lock itself
            fcntl.flock(guard, fcntl.LOCK_EX)
        if folder.exists(NAME) and not folder.is_file(NAME):
            folder.remove(NAME)
        return folder.open(NAME, os.O_RDWR | os.O_CREAT)
    finally:
        os.close(guard)


def _hold(descriptor: int, path: Path, wait_s: float, patience_s: float) -> None:
    start = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(descriptor) or {}
            if time.monotonic() - start > (patience_s if _goes_on(holder) else max(wait_s, patience_s)):
                raise CoPropError(_explanation(path, holder)) from None
            time.sleep(0.02)
        except OSError as error:
            raise CoPropError(
                f"'{path}': its file system knows no locks ({error.strerror}), so two runs could write there at once. "
                "Name a folder on a local disk."
            ) from error


def _explanation(path: Path, holder: Mapping[str, Any]) -> str:
    who = _who(holder)
    if _goes_on(holder):
        ends = "" if holder.get("host") == platform.node() else " on that host"
        return f"'{path}' is being written by another run ({who}). Wait for it or end it{ends}, or name another folder."
    return (
        f"'{path}' is still held, though the run that took it ({who}) is gone: one of its workers has not ended. "
        "Workers end by themselves within seconds; look for one that hangs, or name another folder."
    )


def _who(holder: Mapping[str, Any]) -> str:
    pid, host, since = (holder.get(name) or "?" for name in ("pid", "host", "since"))
    return f"process {pid} on {host}, since {since}"


def _holder(descriptor: int) -> dict[str, Any] | None:
    """What the lock's file tells of who holds it, if that can be understood: anyone may have written there."""
    try:
        told: dict[str, Any] = parse_json(os.pread(descriptor, 4096, 0), where=NAME, form=_HOLDER)
    except CoPropError:
        return None
    return told


def _is_ours(descriptor: int) -> bool:
    holder = _holder(descriptor) or {}
    return holder.get("pid") == os.getpid() and holder.get("host") == platform.node()


def _tell(descriptor: int, holder: Mapping[str, Any] | None) -> None:
    os.ftruncate(descriptor, 0)
    if holder:
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _goes_on(holder: Mapping[str, Any]) -> bool:
    """Whether a holder lives, as far as can be seen from here."""
    return holder.get("host") != platform.node() or _alive(holder.get("pid"))


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
