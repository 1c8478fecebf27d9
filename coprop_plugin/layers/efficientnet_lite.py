"""EfficientNet-lite0 under the names of its published PyTorch weights (Tan and Le, 2019; Apache-2.0 weights).

The lite form has no squeeze-and-excitation and uses ReLU6. Convolutions are padded as TensorFlow pads ("same"), so a
stride's phase depends on the picture's size. Strides can be left out from a block on, for finer maps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (blocks, kernel, stride of the first, expansion, channels), in order
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
NUM_BLOCKS, HEAD_CHANNELS, NUM_CLASSES = 16, 1280, 1000
EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does it: the output has ``ceil(size / stride)`` places."""

    def forward(self, x: Tensor) -> Tensor:
        pads = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, stride, kernel, dilation in zip(
                x.shape[-2:], self.stride, self.kernel_size, self.dilation, strict=True
            )
        ]
        top, left = (pad // 2 for pad in pads)
        if pads == [2 * top, 2 * left]:  # the same on both sides: the convolution pads by itself, nothing is copied
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        x = F.pad(x, (left, pads[1] - left, top, pads[0] - top))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Block(nn.Module):
    """An inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection."""

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int, stride: int, expansion: int, dilation: int = 1
    ) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.residual = stride == 1 and in_channels == channels
        if expansion != 1:
            self._expand_conv = SameConv(in_channels, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=EPS)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, dilation=dilation, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, eps=EPS)
        self._project_conv = SameConv(hidden, channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(channels, eps=EPS)
        self.expands = expansion != 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return y.add_(x) if self.residual else y


class EfficientNetLite0(nn.Module):
    """``(N, 3, H, W)`` pictures, ``(RGB - 127) / 128``, to maps of chosen blocks, or to ImageNet's classes.

    Args:
        blocks: how many blocks there are; fewer than 16 leave out head and classifier.
        unstrided: blocks whose stride is left out (of 1, 3, 5 and 11).
        dilated: what the depthwise convolutions of these blocks are dilated by.
    """

    def __init__(
        self, *, blocks: int = NUM_BLOCKS, unstrided: Collection[int] = (), dilated: dict[int, int] | None = None
    ) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPS)
        made: list[Block] = []
        self.widths: list[int] = []
        in_channels = 32
        for count, kernel, stride, expansion, channels in STAGES:
            for first in (i == 0 for i in range(count)):
                index = len(made)
                step = stride if first and index not in unstrided else 1
                dilation = (dilated or {}).get(index, 1)
                made.append(
                    Block(in_channels, channels, kernel=kernel, stride=step, expansion=expansion, dilation=dilation)
                )
                self.widths.append(channels)
                in_channels = channels
        self._blocks = nn.ModuleList(made[:blocks])
        self.classifies = blocks == NUM_BLOCKS
        if self.classifies:
            self._conv_head = SameConv(in_channels, HEAD_CHANNELS, 1, bias=False)
            self._bn1 = nn.BatchNorm2d(HEAD_CHANNELS, eps=EPS)
            self._fc = nn.Linear(HEAD_CHANNELS, NUM_CLASSES)

    def maps(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """The maps after these blocks, in ascending order."""
        x = F.relu6(self._bn0(self._conv_stem(images)), inplace=True)
        kept = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in blocks:
                kept.append(x)
        return kept

    def cells(self, images: Tensor) -> Tensor:
        """``(N, 1000, h, w)`` class logits of every cell of the last map (a class activation map without its mean)."""
        (x,) = self.maps(images, [NUM_BLOCKS - 1])
        x = F.relu6(self._bn1(self._conv_head(x)), inplace=True)
        return F.conv2d(x, self._fc.weight[:, :, None, None], self._fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 1000)`` class logits."""
        return self.cells(images).mean(dim=(2, 3))


def prepared(frames: Tensor) -> Tensor:
    """``(N, H, W, 3) uint8`` RGB as ``(N, 3, H, W) float32`` in the network's scale."""
    return (frames.permute(0, 3, 1, 2).to(torch.float32) - 127) / 128
