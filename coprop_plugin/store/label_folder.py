"""Folders of PNGs, one a frame: label maps by their values, or grey foreground probabilities when said so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import PredictionError
from ..masks.palette import colour_codes, colours_to_labels, voc_palette
from ..media.images import LabelImage, png_size, read_label_values
from ..structures import FrameStack, Prediction
from ..structures.prediction import Kind
from .frame_files import FrameFiles
from .label_values import LabelValues, listing
from .score_arrays import prediction_from_array

OffPalette = Literal["refuse", "background"]
MAX_CODED_ID = 31  # colours of a palette, blended or not, are brighter; ids in the channels of a picture are not
WHITE = 0xFFFFFF  # no colour of the palette; colour images of binary masks use it for 255


def read_label_folder(
    files: FrameFiles, *, values: LabelValues, kind: Kind | None = None, off_palette: OffPalette = "refuse"
) -> Prediction:
    """A prediction over PNGs of one size, each read when its frame is.

    Args:
        files: one PNG a frame.
        values: what the values of label maps mean; colours are looked up in the palette of Pascal VOC first.
        kind: ``None`` or ``hard`` for label maps, ``probability`` for 8-bit grey probabilities of the foreground.

        off_palette: what becomes of a colour that is no class's: an error, or background.

    Raises:
        PredictionError: images of several sizes; ``logit``; when a frame is read: values or colours that stand for
            no class, with their counts.
        MediaError: a file that is no PNG, or announces too many pixels.
    """
    size = _common_size(files)
    read: Callable[[int], np.ndarray]
    dtype: Any
    if kind in (None, "hard"):
        read, dtype = lambda t: _indices(files.paths[t], values, off_palette), np.uint8
    elif kind == "probability" and len(values.class_ids) == 1:
        read, dtype = lambda t: _probabilities(files.paths[t]), np.float32
    else:
        raise PredictionError(
            f"{files.folder}: PNGs hold label maps or, with kind='probability', grey 8-bit probabilities of one class; "
            f"scores of kind '{kind}' of {len(values.class_ids)} classes are saved as .npy, .npz or .safetensors."
        )
    return prediction_from_array(
        FrameStack(read, num_frames=len(files), frame_shape=size, dtype=dtype),
        kind=kind,
        values=values,
        classes=values.class_ids,
        source=str(files.folder),
        name_of=files.name,
    )


def object_values(files: FrameFiles) -> LabelValues:
    """The values that the files hold, each an object; all files are read once. 255 alone beside 0 is one object.

    Raises:
        PredictionError: colours of no known palette.
    """
    found: set[int] = set()
    every = LabelValues(tuple(range(1, 256)), {v: v for v in range(65536)})
    for path in files.paths:
        found |= set(np.unique(_indices(path, every, "refuse")).tolist())
    objects = sorted(found - {0}) or [1]
    return LabelValues(tuple(objects), {0: 0, **{v: v for v in objects}})


def palette_indices(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(H, W) uint8`` indices of ``(H, W, 3) uint8`` colours in the palette of Pascal VOC and AVSBench (white is 255),
    and ``(H, W) bool``: whether the colour is in it at all."""
    codes, indices = colour_codes(colours), colours_to_labels(colours, _PALETTE)
    white = codes == WHITE
    indices[white] = 255
    return indices, white | (np.take(_CODES, indices) == codes)


_PALETTE = voc_palette(256)
_CODES = colour_codes(_PALETTE[None])[0]


def _indices(path: Path, values: LabelValues, off_palette: OffPalette) -> np.ndarray:
    """The values of one label map, colours looked up."""
    image = read_label_values(path)
    given = image.values
    if image.palette is not None and not values.own:
        return _indexed(path, image)
    if given.ndim == 2:
        return given
    indices, known = palette_indices(given)
    if off_palette == "background":
        return np.where(known & np.isin(indices, list(values.table)), indices, np.uint8(0))
    if not known.all():
        raise PredictionError(_off_palette(path, given[~known]))
    return indices


def _indexed(path: Path, image: LabelImage) -> np.ndarray:
    values = image.by_colour()
    if values is None:
        palette = image.values[:0] if image.palette is None else image.palette
        used = [int(i) for i in np.unique(image.values)]
        shown = ", ".join(f"{i} {tuple(palette[i].tolist()) if i < len(palette) else '(none)'}" for i in used[:6])
        raise PredictionError(
            f"{path}: an indexed PNG whose colours are of no known palette: {shown}{', …' if len(used) > 6 else ''}. "
            "Editors sort palettes as they like, so the indices alone tell nothing. Save label maps as grey (mode L) or "
            "with the colour map of Pascal VOC; if the indices are right, say what they mean with ids={index: class id}."
        )
    return values


def _off_palette(path: Path, strays: np.ndarray) -> str:
    """Why ``(N, 3)`` colours cannot be read, and what would help."""
    codes, counts = np.unique(colour_codes(strays[None])[0], return_counts=True)
    named = [f"({c & 255}, {c >> 8 & 255}, {c >> 16})" for c in codes.tolist()]
    if strays.max() <= MAX_CODED_ID:
        why = (
            "Values this low are ids that were written into the channels of a colour picture (R + 256 G + 65536 B, or one "
            "digit a channel): save the ids as a picture of one channel (mode L, or 16 bits), and map them with "
            "ids={value: class id}."
        )
    else:
        why = (
            "Blended edges come from resizing or lossy files: save label maps with nearest resizing, or say "
            "off_palette='background', which is what published loaders do."
        )
    found = listing(named, counts)
    return f"{path}: colours that are not in the palette of Pascal VOC and AVSBench: {found}. {why}"


def _probabilities(path: Path) -> np.ndarray:
    image = read_label_values(path)
    if image.mode != "L":
        raise PredictionError(f"{path}: probabilities are 8-bit grey PNGs (mode L), this one is of mode {image.mode}.")
    return image.values.astype(np.float32) / 255


def _common_size(files: FrameFiles) -> tuple[int, int]:
    """Height and width of all images, from their headers."""
    first = png_size(files.paths[0])
    for path in files.paths[1:]:
        size = png_size(path)
        if size != first:
            raise PredictionError(
                f"{path}: {size[0]}x{size[1]} px (height x width), but {files.paths[0].name} has "
                f"{first[0]}x{first[1]}; the masks of a clip have one size."
            )
    return first
