"""Trees with one folder an object, as the tools of SAM 2 write them: ``001/00000.png``, ``002/00000.png``, …"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import PredictionError
from ..media.images import png_size, read_label_values
from ..structures import FrameStack, Prediction
from .frame_files import entries

MAX_FRAMES = 10_000_000


def object_folders(folder: Path) -> dict[int, Path]:
    """Object id -> its folder, where a folder holds nothing but numbered folders of PNGs; else nothing."""
    inside = entries(folder)
    numbered = {int(p.name): p for p in inside if p.is_dir() and p.name.isdecimal() and len(p.name) < 6}
    if not numbered or len(numbered) < len(inside) or 0 in numbered:
        return {}
    return numbered if all(any(f.suffix.lower() == ".png" for f in p.iterdir()) for p in numbered.values()) else {}


def read_object_folders(folder: Path) -> Prediction:
    """The objects of a tree as one label map a frame; an object without a file is not in the frame.

    Where objects overlap, the one with the higher id is on top.

    Raises:
        PredictionError: frames without numbers, or masks of several sizes.
    """
    files: dict[int, dict[int, Path]] = {}
    for object_id, inside in sorted(object_folders(folder).items()):
        for path in entries(inside):
            digits = path.stem[len(path.stem.rstrip("0123456789")) :]
            if path.suffix.lower() != ".png" or not digits or len(digits) > 9:
                raise PredictionError(f"{path}: no frame of an object; they are numbered PNGs, as 00000.png.")
            files.setdefault(int(digits), {})[object_id] = path
    first, last = min(min(files), 1), max(files)
    if last - first > MAX_FRAMES:
        raise PredictionError(f"{folder}: frames numbered up to {last}; at most {MAX_FRAMES} are read.")
    size = png_size(next(iter(files[min(files)].values())))
    ids = tuple(sorted({k for of in files.values() for k in of}))

    def read(t: int) -> np.ndarray:
        labels = np.zeros(size, np.int16)
        for object_id, path in sorted(files.get(t + first, {}).items()):
            values = read_label_values(path).by_colour()
            if values is None or values.ndim != 2 or values.shape != size:
                raise PredictionError(f"{path}: the mask of an object is one channel of {size[1]}x{size[0]} px.")
            labels[values > 0] = object_id
        return labels

    stack = FrameStack(read, num_frames=last - first + 1, frame_shape=size, dtype=np.int16)
    return Prediction.from_labels(stack, class_ids=ids, source=str(folder))
