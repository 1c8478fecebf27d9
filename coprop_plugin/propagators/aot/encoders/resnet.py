"""ResNet-50 without its last stage (He et al., 2016)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ....layers.frozen_norm import FrozenBatchNorm
from . import Maps


class ResNet50(nn.Module):
    """Stem and the stages of strides 4, 8 and 16; parameter names are the published ones."""

    widths = (256, 512, 1024, 1024)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(64)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, stride=2)

    def forward(self, image: Tensor) -> Maps:
        x = F.relu(self.bn1(self.conv1(image)), inplace=True)
        x4 = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        x8 = self.layer2(x4)
        x16 = self.layer3(x8)
        return x4, x8, x16, x16


class Bottleneck(nn.Module):
    """1x1 down, 3x3 with the stride, 1x1 up to four times the width, plus the (projected) input."""

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = FrozenBatchNorm(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), FrozenBatchNorm(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)).add_(self.downsample(x)), inplace=True)


def _stage(channels: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride=stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, stride=1) for _ in range(blocks - 1)))
