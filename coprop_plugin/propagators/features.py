"""Features of frames from EfficientNet-lite0, at an eighth or a sixteenth of the picture, kept within a bound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.efficientnet_lite import EfficientNetLite0, prepared
from ..layers.frozen_norm import fold_norms
from ..structures import Clip
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.device import choose_device
from ..weights.packages import EFFICIENTNET, installed_file
from .clip_cache import ClipCache

BLOCKS = (4, 7, 10)  # 40, 80 and 112 channels: from texture to parts
NUM_BLOCKS = 11
UNSTRIDED = (5,)  # all three at stride 8
STRIDE_PX, PATCH_PX = 8, 16
FINE_BLOCK, DEEP_BLOCK = 4, 10  # where block 5 has its stride: at stride 8, and at 16


def encoder(weights: str | Path | None, *, unstrided: Collection[int] = UNSTRIDED) -> EfficientNetLite0:
    """The first blocks with ImageNet's weights.

    Args:
        weights: a file; by default that of the installed package.
        unstrided: blocks whose stride is left out.

    Raises:
        CoPropError: no file is given and the package is not installed.
        CheckpointError: the file is damaged, or holds another network.
    """
    path = Path(weights) if weights else installed_file(EFFICIENTNET, ".pth", instead="Or give weights=FILE.")
    state = read_state_dict(path)
    network = EfficientNetLite0(blocks=NUM_BLOCKS, unstrided=unstrided)
    wanted = network.state_dict()
    load_into(network, {name: value for name, value in state.items() if name in wanted}, what=f"'{path}'")
    return network.eval().requires_grad_(False)


class Cells(NamedTuple):
    """A frame in cells of 16 pixels, each with its four quarters; n = rows * columns.

    Attributes:
        deep: ``(n, C) float32``, of unit length: what a cell shows.
        fine: ``(n, 4, C') float32``, of unit length: what its quarters show, and how they look.
        grid: rows and columns.
    """

    deep: Tensor
    fine: Tensor
    grid: tuple[int, int]


V = TypeVar("V", Tensor, Cells)


class _OfFrames(ABC, Generic[V]):
    """Features of a clip's frames; the last ones used are kept, within ``cache_bytes``.

    Args:
        network: in inference form; its norms are folded.
        height_px: frames are looked at with this height, the aspect ratio kept.
    """

    blocks: ClassVar[Sequence[int]] = BLOCKS
    unstrided: ClassVar[Collection[int]] = UNSTRIDED
    step_px: ClassVar[int] = STRIDE_PX

    def __init__(self, network: EfficientNetLite0, *, height_px: int, device: torch.device, cache_bytes: int) -> None:
        fold_norms(network)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.height_px, self.device = height_px, device
        self.kept: ClipCache[V] = ClipCache(cache_bytes)

    @classmethod
    def load(cls, weights: str | Path | None, *, height_px: int, device: str, cache_bytes: int) -> Self:
        """With the network of a file, or of the installed package; see :func:`encoder`."""
        network = encoder(weights, unstrided=cls.unstrided)
        return cls(network, height_px=height_px, device=choose_device(device), cache_bytes=cache_bytes)

    def __call__(self, clip: Clip, t: int) -> V:
        """The features of frame t."""
        if (known := self.kept.get(clip, t)) is not None:
            return known
        features = self.of_frame(clip.frames[t])
        self.kept.put(clip, t, features, num_bytes=_num_bytes(features))
        return features

    @torch.inference_mode()
    def of_frame(self, frame: np.ndarray) -> V:
        """The features of an ``(H, W, 3) uint8`` frame."""
        height, width = frame.shape[:2]
        scale = self.height_px / height
        size = [max(1, round(side * scale / self.step_px)) * self.step_px for side in (width, height)]
        area = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=area)
        return self._joined(self.network.maps(prepared(torch.from_numpy(small)[None].to(self.device)), self.blocks))

    @abstractmethod
    def _joined(self, levels: Sequence[Tensor]) -> V:
        """From the maps of ``blocks``, ``(1, C, h, w)`` each."""


class FrameFeatures(_OfFrames[Tensor]):
    """``(C, h, w) float32`` unit features of frames at stride 8: each level of unit length, their cosines averaged."""

    def _joined(self, levels: Sequence[Tensor]) -> Tensor:
        return torch.cat([F.normalize(level[0], dim=0) for level in levels]) / len(levels) ** 0.5


class FrameCells(_OfFrames[Cells]):
    """:class:`Cells` of frames: the network as it was trained, a third of the work of its blocks at stride 8."""

    blocks = (FINE_BLOCK, DEEP_BLOCK)
    unstrided = ()
    step_px = PATCH_PX

    def _joined(self, levels: Sequence[Tensor]) -> Cells:
        texture, parts = (F.normalize(level, dim=1) for level in levels)
        spread = F.interpolate(parts, scale_factor=2, mode="bilinear", align_corners=False)
        fine = torch.cat([texture, F.normalize(spread, dim=1)], dim=1)[0] / 2**0.5
        return Cells(parts[0].flatten(1).T.contiguous(), quarters_of(fine), (parts.shape[2], parts.shape[3]))


def quarters_of(values: Tensor) -> Tensor:
    """``(C, 2h, 2w)`` as ``(h * w, 4, C)``: the values of each cell's four quarters."""
    rows, columns = (side // 2 for side in values.shape[1:])
    cells = values.reshape(-1, rows, 2, columns, 2).permute(1, 3, 2, 4, 0)
    return cells.reshape(rows * columns, 4, -1)


def from_quarters(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(h * w, 4, C)`` as ``(C, 2h, 2w)``, undoing :func:`quarters_of`."""
    rows, columns = grid
    cells = values.view(rows, columns, 2, 2, -1).permute(4, 0, 2, 1, 3)
    return cells.reshape(-1, 2 * rows, 2 * columns)


def _num_bytes(features: Tensor | Cells) -> int:
    return features.nbytes if isinstance(features, Tensor) else features.deep.nbytes + features.fine.nbytes
