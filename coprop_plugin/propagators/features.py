"""Features of frames from EfficientNet-lite0, at an eighth of the picture, kept within a bound."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.efficientnet_lite import EfficientNetLite0, prepared
from ..structures import Clip
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.device import choose_device
from ..weights.packages import EFFICIENTNET, installed_file
from .clip_cache import ClipCache

BLOCKS = (4, 7, 10)  # 40, 80 and 112 channels: from texture to parts
NUM_BLOCKS = 11
UNSTRIDED = (5,)  # all three at stride 8
STRIDE_PX = 8


def encoder(weights: str | Path | None) -> EfficientNetLite0:
    """The first blocks with ImageNet's weights.

    Raises:
        CoPropError: no file is given and the package is not installed.
        CheckpointError: the file is damaged, or holds another network.
    """
    path = Path(weights) if weights else installed_file(EFFICIENTNET, ".pth", instead="Or give weights=FILE.")
    state = read_state_dict(path)
    network = EfficientNetLite0(blocks=NUM_BLOCKS, unstrided=UNSTRIDED)
    wanted = network.state_dict()
    load_into(network, {name: value for name, value in state.items() if name in wanted}, what=f"'{path}'")
    return network.eval().requires_grad_(False)


class FrameFeatures:
    """``(C, h, w) float32`` unit features of a clip's frames; the last ones used are kept, within ``cache_bytes``."""

    def __init__(self, network: EfficientNetLite0, *, height_px: int, device: torch.device, cache_bytes: int) -> None:
        self.network, self.height_px, self.device = network.to(device), height_px, device
        self.kept: ClipCache[Tensor] = ClipCache(cache_bytes)

    @classmethod
    def load(cls, weights: str | Path | None, *, height_px: int, device: str, cache_bytes: int) -> FrameFeatures:
        """With the network of a file, or of the installed package; see :func:`encoder`."""
        return cls(encoder(weights), height_px=height_px, device=choose_device(device), cache_bytes=cache_bytes)

    def __call__(self, clip: Clip, t: int) -> Tensor:
        """The features of frame t."""
        if (known := self.kept.get(clip, t)) is not None:
            return known
        features = self.of_frame(clip.frames[t])
        self.kept.put(clip, t, features, num_bytes=features.nbytes)
        return features

    @torch.inference_mode()
    def of_frame(self, frame: np.ndarray) -> Tensor:
        """The features of an ``(H, W, 3) uint8`` frame: each level of unit length, their cosines averaged by joining."""
        height, width = frame.shape[:2]
        scale = self.height_px / height
        size = [max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in (width, height)]
        area = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=area)
        levels = self.network.maps(prepared(torch.from_numpy(small)[None].to(self.device)), BLOCKS)
        return torch.cat([F.normalize(level[0], dim=0) for level in levels]) / len(levels) ** 0.5
