"""What gives the Maskige of a clip's frames: the authors' pictures, masks of any kind, or grey for want of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import CoPropError, PredictionError
from ...masks.palette import colours_to_labels
from ...media.images import png_size, read_rgb
from ...structures import Clip
from .mask_files import ClipFiles
from .maskige import GREY, PALETTE, Masks, coloured, segment_indices

PICTURE = "_mask_color"  # {frame}_mask_color.png, as the authors publish them
_WITH_BLACK = np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)])


class Source(ABC):
    """Gives the Maskige of a clip's frames.

    Attributes:
        about: what whoever reads a score that was made with it must know.
    """

    about: str

    @abstractmethod
    def picture(self, clip: Clip, t: int) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB of frame t, of any size."""


class Grey(Source):
    """No segments at all: every pixel has the colour of index 0."""

    about = (
        "Maskige is all grey, a stand-in for the picture of segments that VCT was trained with: scores are NOT the "
        "published ones. Give maskige=FOLDER (the authors' pictures, masks, or a SAM-family model)."
    )

    def picture(self, clip: Clip, t: int) -> np.ndarray:
        return np.broadcast_to(GREY, (*clip.size, 3))


class FromMasks(Source):
    """Segments of a frame from a function of the clip and the frame, coloured by the published rule.

    Args:
        masks: gives ``(n, H, W)``, not zero where a segment is.
        about: see :class:`Source`.
        key: what tells this function from others, where its masks follow from it and the frame's pixels alone.
    """

    def __init__(self, masks: Callable[[Clip, int], Masks], *, about: str, key: str | None = None) -> None:
        self._masks, self.about, self.key = masks, about, key

    def picture(self, clip: Clip, t: int) -> np.ndarray:
        return coloured(self.indices(clip, t))

    def indices(self, clip: Clip, t: int) -> np.ndarray:
        """``(H, W) uint8`` of frame t.

        Raises:
            PredictionError: masks of different sizes, or of another form.
        """
        masks = self._masks(clip, t)
        where = f"Maskige of clip '{clip.clip_id}', frame {t}"
        shapes = {np.shape(masks[i]) for i in range(len(masks))} or {clip.size}
        if len(shapes) > 1 or len(size := shapes.pop()) != 2 or 0 in size:
            raise PredictionError(f"{where}: masks of a frame are (n, H, W), all of one size.")
        return segment_indices(masks, (size[0], size[1]))


class Pictures(Source):
    """The authors' folder: ``{frame}_mask_color.png``, in the folder of its video."""

    def __init__(self, path: Path) -> None:
        self._files = ClipFiles(path, suffixes=(".png",), tail=PICTURE)
        self.about = f"Maskige: pictures of '{path.name}'"

    def picture(self, clip: Clip, t: int) -> np.ndarray:
        path = self._files.of(clip)[t]
        png_size(path)  # a JPEG's colours are none of the palette's
        picture = read_rgb(path)
        try:
            colours_to_labels(picture, _WITH_BLACK, unknown="error")
        except CoPropError as error:
            raise PredictionError(
                f"{path}: is no Maskige, whose colours are ADE20K's 150 and black: {error}"
            ) from error
        return picture
