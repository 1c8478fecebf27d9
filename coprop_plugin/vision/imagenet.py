"""ImageNet's 1,000 classes in pictures, by EfficientNet-lite0: of whole pictures, of masked crops, and place by place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from ..errors import CoPropError
from ..layers.efficientnet_lite import EfficientNetLite0, prepared
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.device import choose_device
from ..weights.packages import EFFICIENTNET, installed_file

PICTURE_PX = 224  # the shorter side that the network was trained with
CROP_MARGIN = 0.1  # of the longer side of an object's box, kept around it
STRIDE_PX = 16  # of the maps
_GREY = 127  # what the network takes for zero
# The last stride is left out, and the filters behind it are spread as far as they reached before.
FINER_BLOCK, SPREAD = 11, {12: 2, 13: 2, 14: 2, 15: 2}


class ImageNetClasses:
    """The network with its head.

    Args:
        weights: EfficientNet-lite0's file; by default that of the installed package (``coprop doctor`` says which).
        device: where it runs (``auto``: a GPU if there is one).

    Raises:
        CoPropError: no file is given and the package is not installed.
        CheckpointError: the file is damaged, or holds another network.
    """

    def __init__(self, weights: str | Path | None = None, *, device: str = "auto") -> None:
        path = Path(weights) if weights else installed_file(EFFICIENTNET, ".pth", instead="Or give weights=FILE.")
        state = read_state_dict(path)
        self._device = choose_device(device)
        with torch.device("meta"):
            whole = EfficientNetLite0()
            finer = EfficientNetLite0(unstrided=(FINER_BLOCK,), dilated=SPREAD)
        load_into(whole.to_empty(device="cpu"), state, what=f"'{path}'")
        self._whole = whole.to(self._device).eval().requires_grad_(False)
        finer.load_state_dict(self._whole.state_dict(), assign=True)  # one copy of the weights
        self._finer = finer.eval().requires_grad_(False)

    @torch.inference_mode()
    def logits(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """``(N, 1000) float32`` of whole pictures, ``(H, W, 3) uint8`` RGB of any sizes, seen with their own shape."""
        return self._of_pictures([_sized(picture, PICTURE_PX) for picture in pictures])

    @torch.inference_mode()
    def crop_logits(self, frame: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """``(N, 1000) float32`` of what each mask shows: a square around it, grey outside of the mask.

        Args:
            frame: ``(H, W, 3) uint8`` RGB.
            masks: ``(N, h, w) bool`` of the same picture at any size, none of them empty.

        Raises:
            CoPropError: an empty mask, or masks of another form.
        """
        if masks.ndim != 3 or masks.dtype != bool:
            raise CoPropError(f"masks are (N, h, w) bool, got {masks.dtype} {masks.shape}.")
        return self._of_pictures([_crop(frame, mask) for mask in masks])

    @torch.inference_mode()
    def maps(self, frame: np.ndarray, *, height_px: int = 384) -> torch.Tensor:
        """``(1000, h, w) float32`` logits of the classes at each place, on the network's device; a cell is 16 pixels.

        A class activation map (Zhou et al., 2016) of every class: the head applied to each cell without its mean.

        Args:
            frame: ``(H, W, 3) uint8`` RGB, looked at with the height ``height_px``, the aspect ratio kept.
        """
        small = _sized(frame, height_px, side="height", step=STRIDE_PX)
        return self._finer.cells(self._batch([small]))[0]

    def _of_pictures(self, pictures: list[np.ndarray]) -> np.ndarray:
        rows = [self._whole(self._batch([picture]))[0].cpu().numpy() for picture in pictures]
        return np.stack(rows) if rows else np.empty((0, 1000), np.float32)

    def _batch(self, pictures: list[np.ndarray]) -> torch.Tensor:
        return prepared(torch.from_numpy(np.stack(pictures)).to(self._device))


def _sized(picture: np.ndarray, side_px: int, *, side: str = "shorter", step: int = 1) -> np.ndarray:
    """Resized so that its height, or its shorter side, has this length; both sides multiples of ``step``."""
    height, width = picture.shape[:2]
    scale = side_px / (height if side == "height" else min(height, width))
    size = [max(1, round(length * scale / step)) * step for length in (width, height)]
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=kernel)


def _crop(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``(PICTURE_PX, PICTURE_PX, 3) uint8``: the square around a mask, grey where the mask or the picture ends."""
    height, width = frame.shape[:2]
    whole = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    left, top, wide, high = cv2.boundingRect(whole)
    if not wide:
        raise CoPropError("an empty mask shows nothing; leave it out.")
    side = max(wide, high) * (1 + 2 * CROP_MARGIN)
    scale = PICTURE_PX / side
    # The middle of the box comes to the middle of the crop.
    move = [
        [scale, 0, PICTURE_PX / 2 - scale * (left + wide / 2)],
        [0, scale, PICTURE_PX / 2 - scale * (top + high / 2)],
    ]
    to_crop, size = np.array(move, np.float32), (PICTURE_PX, PICTURE_PX)
    grey = (_GREY,) * 3
    crop = cv2.warpAffine(np.ascontiguousarray(frame), to_crop, size, flags=cv2.INTER_AREA, borderValue=grey)
    inside = cv2.warpAffine(whole, to_crop, size, flags=cv2.INTER_NEAREST)
    crop[inside == 0] = _GREY
    return crop
