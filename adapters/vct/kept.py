"""Maskige that was made here, kept as the authors publish it: ``<clip>/<frame>_mask_color.png`` with palette indices."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...errors import CoPropError, MediaError
from ...files import atomic_write
from ...media.images import png_size, read_label_values
from ...structures import Clip
from .maskige import PALETTE, coloured
from .pictures import PICTURE, FromMasks, Source

_KEY = "coprop-maskige"  # the PNG's text entry that says what the picture was made from


class Kept(Source):
    """A source whose pictures are written to a folder, and read from there where segmenter and frame are the same.

    The folder can be given as ``maskige=`` itself. A picture says what it was made from (the segmenter's files and
    options, the frame's pixels); one that says something else, or nothing, is made anew. Masks from files or functions
    are always coloured anew, and kept to be looked at.

    Raises:
        CoPropError: a clip whose name is no folder name.
    """

    def __init__(self, source: FromMasks, folder: str | Path) -> None:
        self.source, self.folder, self.about = source, Path(folder), source.about

    def picture(self, clip: Clip, t: int) -> np.ndarray:
        if Path(clip.clip_id).name != clip.clip_id:
            raise CoPropError(f"Maskige of clip '{clip.clip_id}' cannot be kept: its name is no name of a folder.")
        path = self.folder / clip.clip_id / f"{t}{PICTURE}.png"
        key = self._key(clip, t)
        indices = read_kept(path, key) if key else None
        if indices is None:
            indices = self.source.indices(clip, t)
            write_kept(path, indices, key or "")
        return coloured(indices)

    def _key(self, clip: Clip, t: int) -> str | None:
        if self.source.key is None:
            return None
        frame = np.ascontiguousarray(clip.frames[t])
        return hashlib.sha256(f"{self.source.key}:{frame.shape}:".encode() + frame.tobytes()).hexdigest()


def read_kept(path: Path, key: str) -> np.ndarray | None:
    """``(H, W) uint8`` indices, if the file is there, whole, and was made from what ``key`` says."""
    try:
        png_size(path)  # the announced size is checked before anything else is read
        with Image.open(path, formats=["PNG"]) as image:
            if getattr(image, "text", {}).get(_KEY) != key:
                return None
        kept = read_label_values(path)
    except (MediaError, OSError, ValueError, SyntaxError, zlib.error):
        return None
    return kept.values if kept.mode == "P" else None


def write_kept(path: Path, indices: np.ndarray, key: str) -> None:
    """Write indices ``(H, W) uint8`` as a PNG in the published colours, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    text = PngInfo()
    text.add_text(_KEY, key)
    with atomic_write(path) as file:
        image.save(file, format="PNG", pnginfo=text)
