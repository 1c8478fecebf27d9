"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # nothing more can be written


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block ends without an error.

    The bytes go to a hidden file beside it, are synced to the disk, and replace what was there in one step. On any
    error (a full disk, an interrupt) the hidden file is removed and the old file stays whole.

    Args:
        path: the file to write; its folder must exist.
        mode: ``"wb"`` for bytes, ``"w"`` for UTF-8 text. The file can also be read and sought.

    Raises:
        OSError: what the file system said.
    """
    path = Path(path)
    partial = path.with_name(f".{secrets.token_hex(8)}.part")
    file = partial.open("x+b") if mode == "wb" else partial.open("x+", encoding="utf-8", newline="\n")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
            error.filename = os.fspath(path)  # a write that fails does not say where
        raise
