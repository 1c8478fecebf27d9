"""Frames as the published models want them: resized by their rule, normalised by ImageNet's statistics."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
AVSBENCH_PX = 224


def normalise(frames: np.ndarray | Tensor) -> Tensor:
    """``(N, H, W, 3) uint8`` RGB as ``(N, 3, H, W) float32``: ``(u8 / 255 - mean) / std``, on the frames' device."""
    x = torch.as_tensor(frames).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(MEAN, device=x.device).view(3, 1, 1)
    std = torch.tensor(STD, device=x.device).view(3, 1, 1)
    return (x - mean) / std


def as_in_avsbench(frame: np.ndarray) -> np.ndarray:
    """A frame as AVSBench's S4 and MS3 hold it: 224 x 224 by OpenCV's bilinear resize, the aspect ratio not kept."""
    size = (AVSBENCH_PX, AVSBENCH_PX)
    return frame if frame.shape[:2] == size else cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)


def resize_bilinear(frames: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Frames ``(H, W, 3) uint8`` as ``(N, h, w, 3) uint8``: PIL's bilinear filter, the aspect ratio not kept.

    This is what the published loaders that resize do; PIL's filter widens when it shrinks, unlike OpenCV's and torch's.
    """
    height, width = size
    return np.stack(
        [
            frame
            if frame.shape[:2] == size
            else np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
            for frame in map(np.asarray, frames)
        ]
    )
