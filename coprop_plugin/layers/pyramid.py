"""The dilated pyramid that TPAVI and CATR put on each stage of their backbone."""

from __future__ import annotations

from torch import Tensor, nn

DILATIONS = (3, 6, 12, 18)


class DilatedPyramid(nn.Module):
    """The sum of four dilated 3x3 convolutions, ``(N, C, h, w)`` to ``(N, 256, h, w)``; no norm, no activation."""

    def __init__(self, in_channels: int, channels: int = 256) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(nn.Conv2d(in_channels, channels, 3, padding=d, dilation=d) for d in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        total = self.conv2d_list[0](x)
        for conv in list(self.conv2d_list)[1:]:
            total += conv(x)
        return total
