"""A decoder that treats every object alike: labels as matching carried them, corrected by what the picture shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .by_match import QUARTERS
from .config import MAX_OBJECTS
from .decoder import Shortcuts
from .objects import UNUSED_LOGIT

WIDTHS = (24, 32, 64)  # at strides 4, 8 and 16
LABELS = QUARTERS + 6  # what it reads of an object in a cell
LEAST = 1e-3  # probability of a label that no match carried


class SharedDecoder(nn.Module):
    """A small U-net over strides 4, 8 and 16, run on one object (or the background) at a time with the same weights.

    Its last map starts at zero: untrained it gives the labels as they were carried.

    Args:
        widths: channels of the encoder's maps: stride 4, stride 8, and all that is read for stride 16.
    """

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.adapter_4x, self.adapter_8x, self.adapter_16x = (
            nn.Conv2d(given, width, 1) for given, width in zip(widths, WIDTHS, strict=True)
        )
        self.conv_in = _conv(LABELS, middle)
        self.down = ConvNorm(middle, coarse, stride=2)
        self.conv_16x = nn.ModuleList(ConvNorm(coarse, coarse, dilation=d) for d in (1, 2))
        self.conv_8x = nn.ModuleList([ConvNorm(coarse + middle, middle), ConvNorm(middle, middle)])
        self.conv_4x = nn.ModuleList([ConvNorm(middle + 1, fine), ConvNorm(fine, fine)])
        self.conv_out = nn.Conv2d(fine, 1, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def adapt(self, x4: Tensor, x8: Tensor, x16: Tensor) -> Shortcuts:
        """The part of the decoder that depends on the image alone."""
        return Shortcuts(self.adapter_4x(x4), self.adapter_8x(x8), self.adapter_16x(x16))

    def forward(self, carried: Tensor, shortcuts: Shortcuts, *, num_objects: int) -> Tensor:
        """``(B, 3 * 44 + 2, h, w)`` of the matching layer to ``(B, 11, 2 h, 2 w)`` logits."""
        batch, count = len(carried), num_objects + 1
        labels, cosines = carried[:, :-2].unflatten(1, (3, MAX_OBJECTS + 1, QUARTERS))[:, :, :count], carried[:, -2:]
        both, long, short = labels.unbind(1)
        fine = F.pixel_shuffle(both.flatten(1, 2), 2)  # (B, K+1, 2h, 2w)
        is_background = torch.zeros_like(both[:, :, :1])
        is_background[:, 0] = 1
        read = torch.cat(
            [
                both,
                long.mean(dim=2, keepdim=True),
                short.mean(dim=2, keepdim=True),
                both[:, :1].mean(dim=2, keepdim=True).expand_as(is_background),
                is_background,
                cosines[:, None].expand(-1, count, -1, -1, -1),
            ],
            dim=2,
        )
        out = self._net(read.flatten(0, 1), fine.flatten(0, 1)[:, None], shortcuts, count).view(
            batch, count, *fine.shape[2:]
        )
        logits = (fine.clamp(min=0) + LEAST).log() + out
        return F.pad(logits, (0, 0, 0, 0, 0, MAX_OBJECTS + 1 - count), value=UNUSED_LOGIT)

    def _net(self, read: Tensor, fine: Tensor, shortcuts: Shortcuts, count: int) -> Tensor:
        """``(B * count, 1, 2h, 2w)``."""
        x4, x8 = (x.repeat_interleave(count, dim=0) for x in shortcuts[:2])
        x16 = F.avg_pool2d(shortcuts.x16, 2, ceil_mode=True).repeat_interleave(count, dim=0)
        at8 = F.relu(self.conv_in(read) + x8)
        deep = F.relu(self.down(at8) + x16)
        for conv in self.conv_16x:
            deep = deep + F.relu(conv(deep))
        x = torch.cat([_resized(deep, at8), at8], dim=1)
        for conv in self.conv_8x:
            x = F.relu(conv(x))
        x = torch.cat([_resized(x, fine), fine], dim=1)
        x = F.relu(self.conv_4x[0](x) + x4)
        x = F.relu(self.conv_4x[1](x))
        return self.conv_out(x)


class ConvNorm(nn.Module):
    """A 3x3 convolution and a group norm of 4 groups."""

    def __init__(self, channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _conv(channels, width, stride=stride, dilation=dilation)
        self.gn = nn.GroupNorm(4, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(self.conv(x))


def _conv(channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride, padding=dilation, dilation=dilation)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
