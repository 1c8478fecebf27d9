"""Optical flow by Perceiver IO, tile by tile, as its published recipe has it.

Jaegle et al., "Perceiver IO" (ICLR 2022); the model is PerceiverForOpticalFlow of transformers, from a local folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CoPropError
from ..structures import Clip
from ..weights.device import choose_device
from ..weights.pretrained import fingerprint, load_model, model_folder, read_config

OVERLAP_PX = 20
SCALE = 20.0  # the network gives a twentieth of the displacement


class Perceiver:
    """Flow of neighbouring frames by a PerceiverForOpticalFlow; the paper's choice.

    Frames are resized so that the tile (the model's ``train_size``, published 368 x 496) fits in; the published size
    takes about 5 GB and minutes a pair on a CPU.

    Args:
        model: its folder.
        max_side_px: the longer side of what it sees at most, as far as the tile still fits in.
        device: where it runs.

    Raises:
        CoPropError: no such folder, or another model.
        CheckpointError: files are missing or damaged.
    """

    def __init__(self, model: str | Path, *, max_side_px: int = 640, device: str = "auto") -> None:
        if max_side_px < 16:
            raise CoPropError(f"max_side_px is 16 or more, got {max_side_px}.")
        folder = model_folder(model)
        if (kind := read_config(folder)["model_type"]) != "perceiver":
            raise CoPropError(f"'{folder}' holds a model of the type '{kind}'; flow is computed by 'perceiver'.")
        self.device, self.max_side_px = choose_device(device), max_side_px
        self._model = load_model("PerceiverForOpticalFlow", folder, device=self.device, dtype="float32")
        height, width = self._model.config.train_size
        self.tile = int(height), int(width)
        self.about = (
            f"optical flow by Perceiver IO ('{folder.name}' {fingerprint(folder)}) on tiles of {height}x{width}"
        )

    def speeds(self, clip: Clip) -> Iterator[np.ndarray]:
        before: np.ndarray | None = None
        for t in range(clip.num_frames):
            frame = self._resized(np.asarray(clip.frames[t]))
            if before is not None:
                flow = self.flow(before, frame)
                scale = np.array([clip.size[1] / frame.shape[1], clip.size[0] / frame.shape[0]], np.float32)
                yield np.linalg.norm(flow * scale, axis=-1)
            before = frame

    def _resized(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        scale = min(1.0, self.max_side_px / max(height, width))
        scale = max(scale, self.tile[0] / height, self.tile[1] / width)
        size = max(self.tile[1], round(width * scale)), max(self.tile[0], round(height * scale))
        if size == (width, height):
            return frame
        return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))

    @torch.inference_mode()
    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """``(H, W, 2)``: displacements x, y in pixels from one frame ``(H, W, 3) uint8`` to another, at least a tile large."""
        patches = neighbourhoods(np.stack([first, second])).to(self.device)
        (height, width), weights = patches.shape[-2:], tile_weights(self.tile).to(self.device)
        total = torch.zeros(height, width, 2, device=self.device)
        count = torch.zeros(height, width, 1, device=self.device)
        for y in starts(height, self.tile[0]):
            for x in starts(width, self.tile[1]):
                rows, columns = slice(y, y + self.tile[0]), slice(x, x + self.tile[1])
                seen = patches[None, :, :, rows, columns].contiguous()
                total[rows, columns] += SCALE * self._model(inputs=seen).logits[0] * weights
                count[rows, columns] += weights
        return np.asarray((total / count).cpu().numpy())


def neighbourhoods(frames: np.ndarray) -> Tensor:
    """``(N, 27, H, W)`` of ``(N, H, W, 3) uint8``: each pixel's 3 x 3 neighbours in [-1, 1], colours fastest, zero outside."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    n, channels, height, width = x.shape
    return F.unfold(x, 3, padding=1).view(n, channels, 9, height, width).transpose(1, 2).reshape(n, -1, height, width)


def starts(side: int, tile: int) -> list[int]:
    """Where tiles begin along a side: they overlap, the last one ends with the side.

    >>> starts(100, 40), starts(40, 40)
    ([0, 20, 40, 60], [0])
    """
    step = max(1, tile - OVERLAP_PX)
    return sorted({*range(0, side - tile, step), side - tile})


def tile_weights(tile: tuple[int, int]) -> Tensor:
    """``(h, w, 1)``: the distance to a tile's nearest border, by which overlapping tiles are blended."""
    rows, columns = (torch.minimum(torch.arange(side) + 1, side - torch.arange(side)).float() for side in tile)
    return torch.minimum(rows[:, None], columns[None])[..., None]
