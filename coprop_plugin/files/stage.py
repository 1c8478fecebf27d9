"""A folder under a name of its own in which a result is put together before it is moved in."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .inside import Folder
from .locks import locked

PREFIX = ".partial-"
PATIENCE_S = 60.0  # for others that clear away or move in; either takes well below a second


@contextmanager
def staged(folder: Folder) -> Iterator[Path]:
    """A fresh, empty folder inside, which is gone when the block ends; what is to stay has to be moved out of it.

    Several may put something together in one folder at once. What a killed one left is cleared away here: each
    holds its own stage, and what nobody holds is nobody's.

    Raises:
        CoPropError: another run holds the folder for too long.
    """
    name = f"{PREFIX}{secrets.token_hex(8)}"
    with locked(folder.path, patience_s=PATIENCE_S):
        _clear(folder)
        path = folder.make(name)
        held = _held(path)
    try:
        yield path
    finally:
        folder.remove(name)
        if held is not None:
            os.close(held)


def _clear(folder: Folder) -> None:
    """Stages that nobody holds."""
    for name in [path.name for path in folder.path.iterdir() if path.name.startswith(PREFIX)]:
        if folder.is_folder(name):
            held = _held(folder.path / name)
            if held is None:
                continue
            os.close(held)
        folder.remove(name)


def _held(path: Path) -> int | None:
    """The descriptor that holds a stage, ``None`` where another has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    os.close(descriptor)
    return None
