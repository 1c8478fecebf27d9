"""Pictures and label maps: read with their size checked first, label maps written as indexed PNG."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ..errors import MediaError, unknown_name
from ..files import atomic_write
from ..masks.palette import indexed_values, voc_palette
from .png import check_checksums
from .sniff import IMAGE_FAMILIES, sniffed

MAX_PIXELS = 64_000_000  # a picture whose header announces more is refused before it is unpacked
IGNORED_VALUE = 255  # how -1, the ignored label, is stored in a PNG

PaletteName = Literal["avsbench", "davis"]
# Single-channel PNG of fewer than 8 bits: Pillow spreads the values over 0..255, this brings the file's own back.
_GREY_STEP = {2: 85, 4: 17}


@dataclass(frozen=True)
class LabelImage:
    """A label map as the file holds it, not yet interpreted.

    Attributes:
        values: ``(H, W) uint8`` values (palette indices for ``P``, 0/1 for ``1``), ``(H, W) uint16`` for ``I;16``,
            ``(H, W, 3) uint8`` colours for ``RGB``.
        mode: ``1``, ``L``, ``P``, ``I;16`` or ``RGB``.
        palette: ``(n, 3) uint8`` colours of the indices of a ``P``, else ``None``; :meth:`by_colour`
            reads them.
    """

    values: np.ndarray
    mode: str
    palette: np.ndarray | None = None

    def by_colour(self) -> np.ndarray | None:
        """``values``, of an indexed picture what its colours say; ``None`` where they are of no known palette."""
        return self.values if self.palette is None else indexed_values(self.values, self.palette)


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """``(H, W, 3) uint8`` RGB of a PNG or JPEG; transparency is dropped, EXIF rotation not applied (as published loaders).

    Raises:
        MediaError: not a PNG or JPEG, more than MAX_PIXELS, 16 bits a channel, or damaged.
    """
    image, depth = _open(path)
    with image:
        if depth > 8:
            raise MediaError(f"{path}: has {depth} bits a channel; frames have 8. Convert it to an 8-bit PNG or JPEG.")
        return np.array(_load(image, path).convert("RGB"))


def read_rgba(path: str | os.PathLike[str]) -> np.ndarray:
    """``(H, W, 4) uint8`` RGB and alpha of a PNG: a cut-out; where it has no alpha, all of it is opaque.

    Raises:
        MediaError: as :func:`read_rgb`.
    """
    image, depth = _open(path)
    with image:
        if depth > 8:
            raise MediaError(f"{path}: has {depth} bits a channel; cut-outs have 8. Convert it to an 8-bit PNG.")
        return np.array(_load(image, path).convert("RGBA"))


def read_label_values(path: str | os.PathLike[str]) -> LabelImage:
    """The raw values of a PNG label map: what they mean is for the caller to say.

    Raises:
        MediaError: not a PNG, more than MAX_PIXELS, real transparency, 16-bit colours, or damaged.
    """
    image, depth = _open(path)
    with image:
        if image.format != "PNG":
            raise MediaError(f"{path}: is a JPEG; its lossy compression changes labels. Save label maps as PNG.")
        if depth > 8 and image.mode not in ("I;16", "I"):  # Pillow has called such files either way
            raise MediaError(f"{path}: has {depth} bits a channel; label maps have 8, or 16 in one channel.")
        values = np.array(_load(image, path))
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3) if image.mode == "P" else None
        mode: str = "I;16" if image.mode == "I" else image.mode
    if mode in ("LA", "RGBA"):
        if (values[..., -1] != 255).any():
            raise MediaError(f"{path}: holds transparent pixels; a label map has none. Save it without alpha.")
        values, mode = (values[..., 0], "L") if mode == "LA" else (values[..., :3], "RGB")
    if mode not in ("1", "L", "P", "I;16", "RGB"):
        raise MediaError(f"{path}: is of mode {mode}; label maps are of mode 1, L, P, I;16 or RGB.")
    if mode == "L":
        values = values // _GREY_STEP.get(depth, 1)
    return LabelImage(np.ascontiguousarray(values, np.uint16 if mode == "I;16" else np.uint8), mode, palette)


def write_label_png(path: str | os.PathLike[str], labels: np.ndarray, *, palette: PaletteName = "avsbench") -> None:
    """Write a label map as an indexed PNG whose indices are the labels, atomically.

    Args:
        path: the file to write.
        labels: ``(H, W)`` integers 0 to 254, or -1 for ignored pixels (written as 255). Bools are 0 and 1.
        palette: the colours; both names are the Pascal-VOC colour map.

    Raises:
        MediaError: wrong shape, or labels that do not fit.
    """
    if palette not in get_args(PaletteName):
        raise unknown_name("palette", palette, get_args(PaletteName))
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "biu":
        raise MediaError(f"{path}: a label map is (H, W) integers, got {labels.dtype} {labels.shape}.")
    low, high = int(labels.min()), int(labels.max())
    if low < -1 or high >= IGNORED_VALUE:
        raise MediaError(
            f"{path}: labels from {low} to {high} do not fit an indexed PNG; allowed are 0 to 254, and -1 for ignored."
        )
    indices = np.where(labels == -1, IGNORED_VALUE, labels).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(voc_palette().tobytes())
    with atomic_write(path) as file:
        image.save(file, format="PNG")


def _open(path: str | os.PathLike[str]) -> tuple[Image.Image, int]:
    """The picture with its header read and its size allowed, and its bits a channel."""
    family, head = sniffed(path)
    if family not in IMAGE_FAMILIES:
        raise MediaError(f"{path}: is {family}, not a picture; frames and masks are PNG or JPEG files.")
    # A PNG's size is checked before Pillow's own limit is: it may be announced by anyone.
    depth = 8
    if family == "png":
        depth = _png_header(path, head)[2]
        check_checksums(path)
    try:
        image = Image.open(path, formats=[family.upper()])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path}: its {family.upper()} header cannot be read ({error}).") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise MediaError(
            f"{path}: its header announces {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million are read."
        )
    return image, depth


def png_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width that a PNG's header announces; all of it is checked again when the image is read.

    Raises:
        MediaError: not a PNG, or more than MAX_PIXELS.
    """
    family, head = sniffed(path)
    if family != "png":
        raise MediaError(f"{path}: is {family} by its first bytes; saved masks are PNG files.")
    return _png_header(path, head)[:2]


def _png_header(path: str | os.PathLike[str], head: bytes) -> tuple[int, int, int]:
    """Height, width and bits a channel."""
    if len(head) < 29 or head[12:16] != b"IHDR":
        raise MediaError(f"{path}: its PNG header is damaged.")
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if not 0 < width * height <= MAX_PIXELS:
        raise MediaError(
            f"{path}: its header announces {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million are read."
        )
    return height, width, head[24]


def _load(image: Image.Image, path: str | os.PathLike[str]) -> Image.Image:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, zlib.error) as error:
        raise MediaError(f"{path}: the picture is damaged or cut off ({error}).") from error
    return image
