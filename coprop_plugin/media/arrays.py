"""npy and npz files of others: no pickles, and announced sizes are checked before any data is read."""

from __future__ import annotations

import io
import math
import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ..errors import MediaError
from ..structures import FrameStack
from .sniff import regular_file

LIMIT_BYTES = 2 << 30  # what one array inside an npz may unpack to
_MAX_EXPANSION = 1040  # deflate packs 1032 to 1 at most; what announces more is untrue
_PIECE_BYTES = 1 << 20
_MAX_HEADER_BYTES = 10_000  # as numpy's own limit, but checked before the header is read
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
_HEADER_READERS: dict[tuple[int, int], tuple[int, Any]] = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array announces of itself.

    Attributes:
        shape: its shape.
        dtype: of its items.
        fortran_order: column-major data.
        data_start: bytes of the header before the data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    data_start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def check_kind(self, where: str) -> None:
        """Raise a :class:`MediaError` unless these are plain numbers."""
        if self.dtype.hasobject:
            raise MediaError(f"{where}: holds Python objects, which can run code when they are read. Save numbers.")
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8:
            raise MediaError(f"{where}: holds items of type {self.dtype}; allowed are bools, integers and floats.")


def open_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """An ``.npy`` file as a read-only memory map: nothing is read before it is asked for.

    Raises:
        MediaError: no npy file, objects in it (pickles), or another size than its header announces.
    """
    file = regular_file(path)
    with file.open("rb") as stream:
        header = _header(stream, str(path))
    header.check_kind(str(path))
    held = file.stat().st_size - header.data_start
    if held != header.nbytes:
        raise MediaError(
            f"{path}: its header announces {header.shape} {header.dtype}, {header.nbytes} bytes, but {held} follow. "
            "The file is cut off or damaged; write it again."
        )
    if not header.nbytes:
        return np.empty(header.shape, header.dtype)
    order: Any = "F" if header.fortran_order else "C"
    return np.memmap(file, header.dtype, "r", offset=header.data_start, shape=header.shape, order=order)


class Npz:
    """The arrays of an ``.npz`` file by name; opening it reads their headers only.

    Args:
        path: the file.
        limit_bytes: what one array may unpack to.

    Raises:
        MediaError: no zip, or members that are no arrays; when an array is asked for: objects (pickles), texts or
            records, or sizes that are too large or untrue.
    """

    def __init__(self, path: str | os.PathLike[str], *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path, self.limit_bytes = regular_file(path), limit_bytes
        self.headers: dict[str, ArrayHeader] = {}
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if name == info.filename or name in self.headers:
                        raise MediaError(f"{path}: '{name}' is no array, or there twice; an npz holds NAME.npy files.")
                    with archive.open(info) as stream:
                        self.headers[name], self._members[name] = _header(stream, f"{path}: '{name}'"), info
        except MediaError:
            raise
        except (ValueError, *_ZIP_ERRORS) as error:  # names in no encoding, times before 1980
            raise MediaError(f"{path}: is no whole npz file ({error}). Write it again with numpy.savez.") from error

    def __getitem__(self, name: str) -> np.ndarray:
        """The whole array, in memory."""
        header = self._known(name)
        with self.open(name) as stream:
            data = self.read(stream, header.nbytes, name, skip_bytes=header.data_start)
        return data.view(header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")

    def frames(self, name: str) -> FrameStack:
        """The array's items along the first axis, unpacked one at a time; cheap where indices increase."""
        header = self._known(name)
        if len(header.shape) < 2 or header.fortran_order:
            whole = self[name]
            return FrameStack(
                lambda t: np.asarray(whole[t]), num_frames=len(whole), frame_shape=whole.shape[1:], dtype=whole.dtype
            )
        return FrameStack(
            _FrameReader(self, name), num_frames=header.shape[0], frame_shape=header.shape[1:], dtype=header.dtype
        )

    def _known(self, name: str) -> ArrayHeader:
        """The header of an array, with its kind and sizes checked before anything is unpacked."""
        if name not in self.headers:
            raise MediaError(
                f"{self.path}: holds no array '{name}', only: {', '.join(sorted(self.headers)) or 'none'}."
            )
        header, info, where = self.headers[name], self._members[name], f"{self.path}: '{name}'"
        header.check_kind(where)
        announced = max(info.file_size, header.nbytes)
        if announced > self.limit_bytes:
            raise MediaError(
                f"{where} announces {announced / 2**30:.1f} GiB; at most {self.limit_bytes / 2**30:.1f} GiB are "
                "unpacked. Save it as .npy, which is read piece by piece without unpacking."
            )
        if header.data_start + header.nbytes != info.file_size or info.file_size > _MAX_EXPANSION * info.compress_size:
            raise MediaError(
                f"{where} announces {header.shape} {header.dtype}, {header.nbytes} bytes, but "
                f"{info.file_size - header.data_start} are listed. The file is damaged; write it again."
            )
        return header

    def open(self, name: str) -> IO[bytes]:
        """The unpacked bytes of an array's file, its header first."""
        self._known(name)
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.open(self._members[name])  # holds the file open on its own
        except _ZIP_ERRORS as error:
            raise self._damaged(name, error) from error

    def read(self, stream: IO[bytes], num_bytes: int, name: str, *, skip_bytes: int) -> np.ndarray:
        """``(num_bytes,) uint8``, exactly, from ``skip_bytes`` further on, in memory of its own."""
        data, at = np.empty(num_bytes, np.uint8), 0
        try:
            stream.seek(skip_bytes, os.SEEK_CUR)
            while at < num_bytes and (piece := stream.read(min(_PIECE_BYTES, num_bytes - at))):
                data[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                at += len(piece)
        except _ZIP_ERRORS as error:
            raise self._damaged(name, error) from error
        if at < num_bytes:
            raise self._damaged(name, f"it ends {num_bytes - at} bytes early")
        return data

    def _damaged(self, name: str, reason: object) -> MediaError:
        return MediaError(f"{self.path}: '{name}' is damaged ({reason}). Write the file again.")


class _FrameReader:
    """Items of a packed array: reads on where the wanted one lies ahead, begins anew where it lies behind."""

    def __init__(self, npz: Npz, name: str) -> None:
        self._npz, self._name, self._header = npz, name, npz.headers[name]
        self._frame_bytes = self._header.nbytes // self._header.shape[0]
        self._stream: IO[bytes] | None = None
        self._at = 0  # in the unpacked file

    def __call__(self, t: int) -> np.ndarray:
        start = self._header.data_start + t * self._frame_bytes
        if self._stream is None or start < self._at:
            self._stream, self._at = self._npz.open(self._name), 0
        data = self._npz.read(self._stream, self._frame_bytes, self._name, skip_bytes=start - self._at)
        self._at = start + self._frame_bytes
        return data.view(self._header.dtype).reshape(self._header.shape[1:])


def _header(stream: IO[bytes], where: str) -> ArrayHeader:
    """The npy header at the stream's place.

    Raises:
        MediaError: no npy array.
    """
    try:
        magic = stream.read(8)
        version = np.lib.format.read_magic(io.BytesIO(magic))
        if version not in _HEADER_READERS:
            raise ValueError(f"format version {version}")
        length_bytes, read = _HEADER_READERS[version]
        length = stream.read(length_bytes)
        if int.from_bytes(length, "little") > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {int.from_bytes(length, 'little')} bytes")
        header = length + stream.read(int.from_bytes(length, "little"))
        shape, fortran_order, dtype = read(io.BytesIO(header))
    except (
        ValueError,
        TypeError,
        SyntaxError,
        tokenize.TokenError,
        ArithmeticError,
        LookupError,
        MemoryError,
        *_ZIP_ERRORS,
    ) as error:
        raise MediaError(f"{where}: is no whole npy array ({error}). Write it again with numpy.save.") from error
    if any(size < 0 for size in shape):
        raise MediaError(f"{where}: announces the impossible shape {shape}.")
    return ArrayHeader(tuple(shape), dtype, fortran_order, len(magic) + len(header))
