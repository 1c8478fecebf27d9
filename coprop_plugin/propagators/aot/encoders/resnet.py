"""ResNet-50 without its last stage (He et al., 2016)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ....layers.frozen_norm import FrozenBatchNorm
from ....layers.resnet import stage
from . import Maps


class ResNet50(nn.Module):
    """Stem and the stages of strides 4, 8 and 16; parameter names are the published ones."""

    widths = (256, 512, 1024, 1024)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(64)
        self.layer1 = stage(64, 64, blocks=3, stride=1, norm=FrozenBatchNorm)
        self.layer2 = stage(256, 128, blocks=4, stride=2, norm=FrozenBatchNorm)
        self.layer3 = stage(512, 256, blocks=6, stride=2, norm=FrozenBatchNorm)

    def forward(self, image: Tensor) -> Maps:
        x = F.relu(self.bn1(self.conv1(image)), inplace=True)
        x4 = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        x8 = self.layer2(x4)
        x16 = self.layer3(x8)
        return x4, x8, x16, x16
