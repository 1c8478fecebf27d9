"""npy, npz and safetensors as frames: headers are checked at open, data are read when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CoPropError, PredictionError, unknown_name
from ..media.arrays import LIMIT_BYTES, Npz, open_npy
from ..structures import Frames, FrameStack
from .frame_files import FrameFiles

STREAMED_BYTES = 1 << 50  # an array that is unpacked one frame at a time may be of any size


@dataclass(frozen=True)
class ArrayFile:
    """An array on disk, of which the header has been read.

    Attributes:
        path: its file.
        shape: its shape, no axis empty.
        dtype: its type.
        frames: its items along the first axis, read one at a time.
        whole: reads all of it.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    frames: Callable[[], Frames]
    whole: Callable[[], np.ndarray]

    def __post_init__(self) -> None:
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise PredictionError(
                f"{self.path}: an array of the shape {self.shape}; a frame is (H, W) or (K+1, H, W), a clip (T, H, W) "
                "or (T, K+1, H, W), none of them empty."
            )


def open_array(path: Path, entry: str | None = None) -> ArrayFile:
    """The array in an ``.npy``, ``.npz`` or ``.safetensors`` file; ``entry`` says which, where there are several.

    Raises:
        MediaError, PredictionError: damaged, objects in it (pickles), sizes that are untrue, several arrays and no
            ``entry``, or names that lead out of the archive.
        CoPropError: no such entry.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = open_npy(path)
        return ArrayFile(path, array.shape, array.dtype, lambda: array, lambda: array)
    return _of_npz(path, entry) if suffix == ".npz" else _of_safetensors(path, entry)


def open_clip_array(path: Path, entry: str | None = None) -> Frames:
    """``(T, ...)``: one array file for the whole clip; raises as :func:`open_array`."""
    return open_array(path, entry).frames()


def open_frame_arrays(files: FrameFiles, entry: str | None = None) -> Frames:
    """``(T, ...)``: one array file a frame, all of one shape and type.

    Raises:
        MediaError, PredictionError: as :func:`open_array`; a file of another shape or type, named.
    """
    first = open_array(files.paths[0], entry)
    if math.prod(first.shape) * first.dtype.itemsize > LIMIT_BYTES:
        raise PredictionError(f"{first.path}: announces {first.shape} {first.dtype} for one frame; that is too large.")
    for path in files.paths[1:]:
        other = open_array(path, entry)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise PredictionError(
                f"{path}: {other.dtype} {other.shape}, but {first.path.name} is {first.dtype} {first.shape}; "
                "the files of a clip have one shape and type."
            )
    return FrameStack(
        lambda t: open_array(files.paths[t], entry).whole(),
        num_frames=len(files),
        frame_shape=first.shape,
        dtype=first.dtype,
    )


def _of_npz(path: Path, entry: str | None) -> ArrayFile:
    npz = Npz(path, limit_bytes=STREAMED_BYTES)
    outside = [name for name in npz.headers if name.startswith("/") or ".." in name.split("/")]
    if outside:
        raise PredictionError(f"{path}: an entry is named '{outside[0]}', which leads out of the archive; refused.")
    name = _chosen(path, npz.headers, entry)
    header = npz.headers[name]
    header.check_kind(f"{path}: '{name}'")
    if header.fortran_order and header.nbytes > LIMIT_BYTES:
        raise PredictionError(f"{path}: '{name}' is column-major and has {header.nbytes} bytes; save it in C order.")
    file = ArrayFile(path, header.shape, header.dtype, lambda: npz.frames(name), lambda: npz[name])
    if not header.fortran_order:
        file.frames()  # compares the announced sizes now, not when the first frame is read
    return file


def _of_safetensors(path: Path, entry: str | None) -> ArrayFile:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt")  # the framework that knows bfloat16
    except (SafetensorError, OSError) as error:
        raise PredictionError(f"{path}: is no whole safetensors file ({error}). Write it again.") from error
    except MemoryError as error:
        raise PredictionError(f"{path}: has more bytes than this process may map. Is it a whole file?") from error
    name = _chosen(path, file.keys(), entry)
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    frames = FrameStack(
        lambda t: _numpy(part[t : t + 1])[0],
        num_frames=shape[0] if shape else 0,
        frame_shape=shape[1:],
        dtype=_dtype(part),
    )
    return ArrayFile(path, shape, frames.dtype, lambda: frames, lambda: _numpy(file.get_tensor(name)))


def _dtype(part: Any) -> np.dtype:
    """What :func:`_numpy` makes of a slice, by its header."""
    name = part.get_dtype()
    if name == "BOOL":
        return np.dtype(bool)
    return np.dtype(np.float32) if "F" in name else np.dtype(f"{name[0].lower()}{int(name[1:]) // 8}")


def _numpy(tensor: Any) -> np.ndarray:
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _chosen(path: Path, names: Iterable[str], entry: str | None) -> str:
    names = sorted(names)
    if entry is not None:
        if entry not in names:
            raise CoPropError(f"{path}: {unknown_name('entry', entry, names)}")
        return entry
    if len(names) != 1:
        held = f"several arrays ({', '.join(names[:8])})" if names else "no array"
        raise PredictionError(f"{path}: holds {held}; say which one is meant with entry=.")
    return names[0]
