"""Frames to network input, and label maps between the frames' size and the network's: the published rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .config import PATCH_PX

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_SIDE_PX = 1040  # the published evaluation's limit: 480 * 1.3 * 800 / 480


def network_size(
    height: int,
    width: int,
    *,
    align_corners: bool,
    max_side_px: float = MAX_SIDE_PX,
    max_short_side_px: float | None = None,
    enlarge: bool = False,
) -> tuple[int, int]:
    """The network's input size: within both limits, each side then the nearest ``16k + 1`` (or ``16k``).

    Limits only shrink, unless smaller frames are to be enlarged to the nearer one. Ties go to the even k; the smallest
    side is one patch (two tokens where corners are aligned).
    """
    scale = min(
        np.inf if enlarge else 1.0, max_side_px / max(height, width), (max_short_side_px or np.inf) / min(height, width)
    )
    extra = int(align_corners)

    def side(length: int) -> int:
        patches = round((int(length * scale) - extra) / PATCH_PX)
        return max(1, patches) * PATCH_PX + extra

    return side(height), side(width)


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A ``(H, W, 3) uint8`` frame at another size: float32, bicubic, not clipped; unchanged if it has the size."""
    if frame.shape[:2] == size:
        return frame
    import cv2

    return cv2.resize(frame.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)


def to_input(frames: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """``(H, W, 3)`` frames of network size as one normalised ``(B, 3, H, W) float32`` tensor, channels-last."""
    return normalised(torch.from_numpy(np.stack(frames)).to(device))


def normalised(batch: Tensor) -> Tensor:
    """``(B, H, W, 3)`` frames, 0 to 255, as :func:`to_input` gives them, on the device where they lie."""
    mean, std = (torch.tensor(values, device=batch.device) for values in (MEAN, STD))
    return ((batch / 255 - mean) / std).permute(0, 3, 1, 2)


def nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """``(..., H, W)`` label maps at another size; pixel i of n takes ``floor(i * N / n)``."""
    rows, columns = (
        torch.arange(target, device=labels.device) * given // target
        for given, target in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[..., rows[:, None], columns[None, :]]


def most_likely(probability: Tensor) -> Tensor:
    """``(B, K+1, H, W)`` to ``(B, H, W) int64`` labels. (``max`` is eight times faster than ``argmax`` on a CPU.)"""
    return probability.max(dim=1).indices
