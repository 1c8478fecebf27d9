"""Mask2Former's pixel decoder: deformable attention over three levels, one level more by a feature pyramid.

Cheng et al., "Masked-attention Mask Transformer" (2022), with AAVS' adapter behind every deformable attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ...layers.deformable import DeformableAttention, Sizes
from ...layers.mask2former import CHANNELS, decode_pixels
from ...layers.pieces import in_pieces
from .swin import bottleneck

AavsStage = Literal[1, 2]


class AdaptedDeformableAttention(DeformableAttention):
    """The adapter replaces the output projection in stage 1 and follows it in stage 2."""

    def __init__(self, stage: AavsStage, channels: int) -> None:
        super().__init__(channels)
        if stage == 1:
            del self.output_proj
        self.stage = stage
        self.avs_adapt = bottleneck(channels)

    def project(self, heads: Tensor) -> Tensor:
        return self.avs_adapt(heads if self.stage == 1 else self.output_proj(heads))


class EncoderLayer(nn.Module):
    """Deformable attention and a feed-forward part, post-norm."""

    def __init__(self, stage: AavsStage, hidden: int, channels: int) -> None:
        super().__init__()
        self.self_attn = AdaptedDeformableAttention(stage, channels)
        self.self_attn_layer_norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.final_layer_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attn(x + position, x, sizes, centres))
        return self.final_layer_norm(x + in_pieces(self.feed_forward, x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x).relu_())


class Encoder(nn.Module):
    def __init__(self, stage: AavsStage, *, layers: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(stage, hidden, channels) for _ in range(layers))


def convolution(in_channels: int, channels: int, *, kernel: int = 1, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias), nn.GroupNorm(32, channels)
    )


class PixelDecoder(nn.Module):
    """Four backbone maps to features at strides 32, 16, 8 and mask features at stride 4, all of 256 channels."""

    def __init__(
        self, in_channels: Sequence[int], stage: AavsStage, *, layers: int, hidden: int, channels: int = CHANNELS
    ) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.zeros(3, channels))
        self.input_projections = nn.ModuleList(convolution(c, channels, bias=True) for c in in_channels[:0:-1])
        self.encoder = Encoder(stage, layers=layers, hidden=hidden, channels=channels)
        self.mask_projection = nn.Conv2d(channels, channels, 1)
        self.adapter_1 = convolution(in_channels[0], channels)
        self.layer_1 = convolution(channels, channels, kernel=3)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        return decode_pixels(
            maps,
            projections=self.input_projections,
            level_embed=self.level_embed,
            layers=self.encoder.layers,
            lateral=self.adapter_1,
            smooth=self.layer_1,
            mask_features=self.mask_projection,
        )
