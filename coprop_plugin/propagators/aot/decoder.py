"""The decoder: from the layers' tokens and the encoder's maps to logits at stride 4."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .config import MAX_OBJECTS


class Shortcuts(NamedTuple):
    """The encoder's maps, adapted to the decoder's widths: ``(B, 128 | 256 | 256, h, w)`` of strides 4, 8 and 16."""

    x4: Tensor
    x8: Tensor
    x16: Tensor


class Decoder(nn.Module):
    """A feature pyramid of three steps; parameter names are the published ones.

    Args:
        channels: of the tokens that it reads.
        widths: of the encoder's maps of strides 4, 8 and 16.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int], *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.conv_in = ConvNorm(channels, 256, kernel=1)
        self.conv_16x = ConvNorm(256, 256, kernel=3)
        self.conv_8x = ConvNorm(256, 128, kernel=3)
        self.conv_4x = ConvNorm(128, 128, kernel=3)
        self.adapter_4x = nn.Conv2d(widths[0], 128, 1)
        self.adapter_8x = nn.Conv2d(widths[1], 256, 1)
        self.adapter_16x = nn.Conv2d(widths[2], 256, 1)
        self.conv_out = nn.Conv2d(128, MAX_OBJECTS + 1, 1)

    def adapt(self, x4: Tensor, x8: Tensor, x16: Tensor) -> Shortcuts:
        """The part of the decoder that depends on the image alone."""
        return Shortcuts(self.adapter_4x(x4), self.adapter_8x(x8), self.adapter_16x(x16))

    def forward(self, tokens: Tensor, shortcuts: Shortcuts) -> Tensor:
        """``(B, channels, h, w)`` tokens on their grid to ``(B, 11, H / 4, W / 4)`` logits."""
        x = F.relu(self.conv_in(tokens), inplace=True)
        x = F.relu(self.conv_16x(shortcuts.x16 + x), inplace=True)
        x = F.relu(self.conv_8x(self._resized(x, shortcuts.x8) + shortcuts.x8), inplace=True)
        x = F.relu(self.conv_4x(self._resized(x, shortcuts.x4) + shortcuts.x4), inplace=True)
        return self.conv_out(x)

    def _resized(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=self.align_corners)


class ConvNorm(nn.Module):
    """A convolution and a group norm of 8 groups."""

    def __init__(self, channels: int, width: int, *, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        self.gn = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(self.conv(x))
