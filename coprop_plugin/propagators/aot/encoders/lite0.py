"""EfficientNet-lite0 without its last stages, all of its later maps at stride 8; its weights stay in their package."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ....layers.efficientnet_lite import EfficientNetLite0
from ...features import encoder as with_weights
from ..preprocess import MEAN, STD
from . import Maps

BLOCKS = (2, 4, 7, 10)


class Lite0(nn.Module):
    """Maps of 24 channels at stride 4, and of 40, 80 and 112 channels at stride 8; never trained.

    It takes frames normalised as for the other encoders. Its norms never follow a batch.

    Args:
        network: the blocks with their weights.
    """

    widths = (24, 40, 80, 112)
    scale: Tensor
    shift: Tensor

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        self.register_buffer("scale", std * 255 / 128)  # from the family's scale to (RGB - 127) / 128
        self.register_buffer("shift", (mean * 255 - 127) / 128)

    @classmethod
    def load(cls, weights: str | Path | None = None) -> Lite0:
        """With the weights of a file, or of the installed package.

        Raises:
            CoPropError: no file is given and the package is not installed.
            CheckpointError: the file is damaged, or holds another network.
        """
        return cls(with_weights(weights))

    def train(self, mode: bool = True) -> Lite0:
        """Stays as it is."""
        return super().train(False)

    def forward(self, image: Tensor) -> Maps:
        x4, x8, x16, top = self.network.maps(image * self.scale + self.shift, BLOCKS)
        return x4, x8, x16, top
