"""MobileNetV2 with its last stride removed and dilation in its place (Sandler et al., 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from ....layers.frozen_norm import FrozenBatchNorm
from . import Maps

# expansion, channels, stride and dilation of each inverted residual block, ``features.1`` to ``features.17``
BLOCKS = (
    (1, 16, 1, 1),
    *((6, 24, stride, 1) for stride in (2, 1)),
    *((6, 32, stride, 1) for stride in (2, 1, 1)),
    *((6, 64, stride, 1) for stride in (2, 1, 1, 1)),
    *((6, 96, 1, 1) for _ in range(3)),
    *((6, 160, 1, dilation) for dilation in (1, 2, 2)),
    (6, 320, 1, 2),
)
OUTPUTS = (3, 6, 13, 18)  # the features that are the maps of strides 4, 8, 16 and 16


class MobileNetV2(nn.Module):
    """MobileNetV2 at output stride 16; parameter names are the published ones."""

    widths = (24, 32, 96, 1280)

    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = [_conv_norm_relu(3, 32, kernel=3, stride=2)]
        channels = 32
        for expansion, width, stride, dilation in BLOCKS:
            features.append(InvertedResidual(channels, width, expansion=expansion, stride=stride, dilation=dilation))
            channels = width
        features.append(_conv_norm_relu(channels, 1280, kernel=1))
        self.features = nn.ModuleList(features)

    def forward(self, image: Tensor) -> Maps:
        maps: list[Tensor] = []
        x = image
        for index, feature in enumerate(self.features):
            x = feature(x)
            if index in OUTPUTS:
                maps.append(x)
        x4, x8, x16, top = maps
        return x4, x8, x16, top


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection; plus the input where the shape is kept."""

    def __init__(self, channels: int, width: int, *, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = channels * expansion
        expand = [] if expansion == 1 else [_conv_norm_relu(channels, hidden, kernel=1)]
        self.conv = nn.Sequential(
            *expand,
            _conv_norm_relu(hidden, hidden, kernel=3, stride=stride, dilation=dilation, groups=hidden),
            nn.Conv2d(hidden, width, 1, bias=False),
            FrozenBatchNorm(width),
        )
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y.add_(x) if self.residual else y


def _conv_norm_relu(
    channels: int, width: int, *, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = (kernel - 1) // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, padding, dilation, groups, bias=False),
        FrozenBatchNorm(width),
        nn.ReLU6(inplace=True),
    )
