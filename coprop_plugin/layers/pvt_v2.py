"""PVT-v2-B5, the pyramid vision transformer with overlapping patches and spatial-reduction attention.

Wang et al., "PVT v2: Improved Baselines with Pyramid Vision Transformer" (2022). Entries carry the names of the
published ImageNet file (``block3.12.attn.sr.weight``). Layer norms differ on purpose: 1e-6 in the blocks and after
each stage, 1e-5 in the patch embeddings and after the spatial reduction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CoPropError
from ..weights.variants import Variant

SMALLEST_PX = 29  # below it a spatial-reduction kernel no longer fits its map


class Stage(NamedTuple):
    """One of the four stages: channels, heads (64 wide), blocks, spatial reduction."""

    channels: int
    heads: int
    blocks: int
    reduction: int


B5 = (Stage(64, 1, 3, 8), Stage(128, 2, 6, 4), Stage(320, 5, 40, 2), Stage(512, 8, 3, 1))
CHANNELS = tuple(stage.channels for stage in B5)


class PatchEmbedding(nn.Module):
    """Overlapping patches: ``(N, C, H, W)`` to tokens on a smaller grid, ``(N, h, w, channels)``."""

    def __init__(self, in_channels: int, channels: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values come from a grid ``reduction`` times coarser."""

    def __init__(self, channels: int, *, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.sr = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        if self.sr is not None:
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        coarse = x
        if self.sr is not None:
            coarse = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        q = self.q(x).view(n, h * w, self.heads, -1).transpose(1, 2)
        k, v = self.kv(coarse).view(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h, w, c))


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel alone, on tokens ``(N, h, w, C)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvMlp(nn.Module):
    """The feed-forward part; its depth-wise convolution is the model's only sense of position."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm and a residual; tokens are ``(N, h, w, C)``."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(stage.channels, eps=1e-6)
        self.attn = ReducedAttention(stage.channels, heads=stage.heads, reduction=stage.reduction)
        self.norm2 = nn.LayerNorm(stage.channels, eps=1e-6)
        self.mlp = ConvMlp(stage.channels, 4 * stage.channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PvtV2B5(nn.Module):
    """``(N, 3, H, W)`` normalised RGB to four maps of 64, 128, 320 and 512 channels at strides 4, 8, 16 and 32.

    Raises:
        CoPropError: a side below 29 px.
    """

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for i, stage in enumerate(B5, start=1):
            kernel, stride = (7, 4) if i == 1 else (3, 2)
            self.add_module(f"patch_embed{i}", PatchEmbedding(before, stage.channels, kernel=kernel, stride=stride))
            self.add_module(f"block{i}", nn.ModuleList(Block(stage) for _ in range(stage.blocks)))
            self.add_module(f"norm{i}", nn.LayerNorm(stage.channels, eps=1e-6))
            before = stage.channels

    def forward(self, x: Tensor) -> list[Tensor]:
        if min(x.shape[-2:]) < SMALLEST_PX:
            raise CoPropError(
                f"PVT-v2-B5 needs frames of at least {SMALLEST_PX}x{SMALLEST_PX} px, got {tuple(x.shape[-2:])}."
            )
        maps = []
        for i in range(1, len(B5) + 1):
            tokens = self.get_submodule(f"patch_embed{i}")(x)
            for block in self.get_submodule(f"block{i}").children():
                tokens = block(tokens)
            x = self.get_submodule(f"norm{i}")(tokens).permute(0, 3, 1, 2)
            maps.append(x)
        return maps


VARIANTS = (Variant("backbone", "pvt_v2_b5", lambda _: PvtV2B5(), ("head.*",), marks="*patch_embed4.proj.weight"),)
