"""A folder that is changed without ever leaving it: every write, move and removal goes through its own descriptor.

A folder may come from elsewhere, with links in it that lead out. Each part of a path below it is opened with
``O_NOFOLLOW``: a link on the way is a named error, and a link at the end is replaced or removed itself, never what it
points to. The folder's own path may lead over links; that is the user's choice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..errors import CoPropError
from .atomic import NO_ROOM

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def check_new_folder(path: str | os.PathLike[str]) -> Path:
    """A folder that results may be written to, if its name says one: neither ``.`` nor ``/`` nor an empty name.

    Raises:
        CoPropError: it names the working folder, one above it, the root of the file system, or a link that leads nowhere.
    """
    text = os.fspath(path)
    given = Path(text)
    if not text or "\0" in text:
        raise CoPropError(f"{text!a} names no folder; name a new one, as with  -o out/")
    whole = Path(os.path.normpath(Path.cwd() / given))  # links are the user's choice
    if whole == Path(whole.anchor) or Path.cwd().is_relative_to(whole):
        what = "the root of the file system" if whole == Path(whole.anchor) else "the working folder, or one above it"
        raise CoPropError(f"'{text}' is {what}; results need a folder of their own, as with  -o out/")
    if given.is_symlink() and not given.exists():
        raise CoPropError(f"'{text}' is a link that leads nowhere; remove it, or name another folder.")
    return given


def leads_out(path: Path, root: Path) -> bool:
    """Whether a link at or above ``path`` leads out of the folder ``root``, or nowhere (a loop)."""
    real = os.path.realpath(path)
    return Path(real).is_symlink() or not Path(real).is_relative_to(os.path.realpath(root))


class Folder:
    """The one way to change what lies in a folder that may not be trusted.

    Paths are given below the folder, as text with ``/``.

    Args:
        path: the folder; it must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def check(self, name: str) -> None:
        """Refuse a path that leads out of the folder, or over a link.

        Raises:
            CoPropError: it does.
        """
        with self._parent(name, make=False) as (_, _):
            pass

    def make(self, name: str, *, fresh: bool = False) -> Path:
        """The folder ``name``, made where it is not there; with ``fresh`` what was there goes first.

        Raises:
            CoPropError: the path leads over a link, or something else has the name.
        """
        if fresh:
            self.remove(name)
        with self._parent(f"{name}/x", make=True):
            return self.path / name

    def remove(self, name: str) -> bool:
        """Take away a file, a link (not its target) or a folder with all that is in it; whether anything was there."""
        with self._parent(name, make=False) as (parent, last):
            if parent is None:
                return False
            try:
                is_folder = stat.S_ISDIR(os.lstat(last, dir_fd=parent).st_mode)
                if is_folder:
                    shutil.rmtree(last, dir_fd=parent)
                else:
                    os.unlink(last, dir_fd=parent)
            except FileNotFoundError:
                return False
            return True

    def remove_empty(self, name: str) -> None:
        """Take away a folder if nothing is in it."""
        with self._parent(name, make=False) as (parent, last), contextlib.suppress(OSError):
            if parent is not None:
                os.rmdir(last, dir_fd=parent)

    def move(self, source: str, target: str) -> None:
        """Put what lies at ``source`` to ``target`` in one step; folders on the way are made, a file there is replaced."""
        with self._parent(source, make=False) as (below, first), self._parent(target, make=True) as (above, last):
            os.replace(first, last, src_dir_fd=below, dst_dir_fd=above)

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there whole or not at all; folders on the way are made."""
        with self._parent(name, make=True) as (parent, last):
            partial = f".{secrets.token_hex(8)}.part"
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(partial, last, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException as error:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial, dir_fd=parent)
                if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
                    error.filename = str(self.path / name)
                raise

    def append(self, name: str, line: str) -> None:
        """Add to a text file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        with os.fdopen(self.open(name, flags), "wb") as file:
            file.write(line.encode("utf-8", "backslashreplace"))

    def open(self, name: str, flags: int, mode: int = 0o644) -> int:
        """The descriptor of a regular file, as ``os.open`` gives it.

        Raises:
            CoPropError: a link, a pipe or a device has the name.
        """
        with self._parent(name, make=bool(flags & os.O_CREAT)) as (parent, last):
            if parent is None:
                raise FileNotFoundError(2, os.strerror(2), str(self.path / name))
            try:
                descriptor = os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
            except OSError as error:
                if self._is_link(last, parent):
                    raise self._leads_out(name) from error
                if error.errno in (errno.ENXIO, errno.EISDIR):  # a pipe that nobody reads, a folder
                    raise self._odd(name) from error
                raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._odd(name)
        return descriptor

    def is_file(self, name: str) -> bool:
        """Whether a regular file, no link, lies there."""
        return self._is(name, stat.S_ISREG)

    def is_folder(self, name: str) -> bool:
        """Whether a folder, no link, lies there."""
        return self._is(name, stat.S_ISDIR)

    def exists(self, name: str) -> bool:
        """Whether anything lies there, a link that leads nowhere included."""
        return self._is(name, lambda mode: True)

    def _is(self, name: str, kind: object) -> bool:
        with self._parent(name, make=False) as (parent, last):
            if parent is None:
                return False
            try:
                return bool(kind(os.lstat(last, dir_fd=parent).st_mode))  # type: ignore[operator]
            except FileNotFoundError:
                return False

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool) -> Iterator[tuple[int | None, str]]:
        """The descriptor of the folder that ``name`` lies in (``None``: it is not there), and the last part."""
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
            raise CoPropError(f"'{self.path}': {name!a} leads out of the folder; nothing is written there.")
        folder = os.open(self.path, _DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = self._enter(folder, part, name, make=make)
                if inner is None:
                    break
                folder, outer = inner, folder
                os.close(outer)
            else:
                yield folder, parts[-1]
                return
            yield None, parts[-1]
        finally:
            os.close(folder)

    def _enter(self, folder: int, part: str, name: str, *, make: bool) -> int | None:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
        try:
            return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            if self._is_link(part, folder):
                raise self._leads_out(name) from error
            if isinstance(error, NotADirectoryError):
                raise CoPropError(
                    f"'{self.path}': '{part}' on the way to '{name}' is no folder; remove it, or name another folder."
                ) from error
            raise

    def _is_link(self, part: str, folder: int) -> bool:
        try:
            return stat.S_ISLNK(os.lstat(part, dir_fd=folder).st_mode)
        except OSError:
            return False

    def _odd(self, name: str) -> CoPropError:
        return CoPropError(f"'{self.path / name}' is no regular file; remove it, or name another folder.")

    def _leads_out(self, name: str) -> CoPropError:
        return CoPropError(
            f"'{self.path}': '{name}' leads out of the folder; results are not written through links. Remove the link, or name "
            "another folder."
        )
