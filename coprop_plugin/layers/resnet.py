"""ResNet-50 as the AVS models have it: the last two stages are called ``layer3_1`` and ``layer4_1``.

He et al., "Deep Residual Learning for Image Recognition" (2016); the 3x3 convolution carries the stride. Published
files also hold a second copy of those stages (``layer3_2``, ``layer4_2``) that no forward pass reads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from ..weights.variants import Variant

Norm = Callable[[int], nn.Module]
CHANNELS = (256, 512, 1024, 2048)
UNUSED = ("layer3_2.*", "layer4_2.*")


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a residual; the first block of a stage projects its shortcut."""

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = norm(channels)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)).add_(self.downsample(x)), inplace=True)


def stage(in_channels: int, width: int, *, blocks: int, stride: int, norm: Norm = nn.BatchNorm2d) -> nn.Sequential:
    """``blocks`` bottlenecks; the first one strides."""
    rest = (Bottleneck(4 * width, width, norm=norm) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(in_channels, width, stride=stride, norm=norm), *rest)


class ResNet50(nn.Module):
    """``(N, 3, H, W)`` normalised RGB to maps of 256, 512, 1024 and 2048 channels at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(64, 64, blocks=3, stride=1)
        self.layer2 = stage(256, 128, blocks=4, stride=2)
        self.layer3_1 = stage(512, 256, blocks=6, stride=2)
        self.layer4_1 = stage(1024, 512, blocks=3, stride=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3_1, self.layer4_1):
            x = layer(x)
            maps.append(x)
        return maps


VARIANTS = (Variant("backbone", "resnet50", lambda _: ResNet50(), UNUSED, marks="*layer4*.0.conv1.weight"),)
