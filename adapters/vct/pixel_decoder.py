"""Mask2Former's pixel decoder under the names of detectron2's code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...layers.deformable import DeformableAttention, Sizes
from ...layers.mask2former import CHANNELS, decode_pixels
from ...layers.pieces import in_pieces


class NormedConv(nn.Conv2d):
    """A convolution to 256 channels without bias, and its group norm; no activation."""

    def __init__(self, in_channels: int, *, kernel: int = 1) -> None:
        super().__init__(in_channels, CHANNELS, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(32, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class EncoderLayer(nn.Module):
    """Deformable attention and a feed-forward part, post-norm."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(CHANNELS)
        self.norm1 = nn.LayerNorm(CHANNELS)
        self.linear1 = nn.Linear(CHANNELS, hidden)
        self.linear2 = nn.Linear(hidden, CHANNELS)
        self.norm2 = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, x, sizes, centres))
        return self.norm2(x + in_pieces(self.feed_forward, x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.linear1(x).relu_())


class Encoder(nn.Module):
    def __init__(self, *, layers: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(hidden) for _ in range(layers))


class LevelEncoder(nn.Module):
    def __init__(self, *, layers: int, hidden: int) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.zeros(3, CHANNELS))
        self.encoder = Encoder(layers=layers, hidden=hidden)


class PixelDecoder(nn.Module):
    """Four maps to features at strides 32, 16, 8 and mask features at stride 4, all of 256 channels."""

    def __init__(self, in_channels: Sequence[int], *, layers: int, hidden: int) -> None:
        super().__init__()
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, CHANNELS, 1), nn.GroupNorm(32, CHANNELS))
            for channels in in_channels[:0:-1]
        )
        self.transformer = LevelEncoder(layers=layers, hidden=hidden)
        self.mask_features = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.adapter_1 = NormedConv(in_channels[0])
        self.layer_1 = NormedConv(CHANNELS, kernel=3)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        return decode_pixels(
            maps,
            projections=self.input_proj,
            level_embed=self.transformer.level_embed,
            layers=self.transformer.encoder.layers,
            lateral=self.adapter_1,
            smooth=self.layer_1,
            mask_features=self.mask_features,
        )
