"""Swin-B without its last stage (Liu et al., 2021)."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import Maps

WINDOW = 7
SHIFT = WINDOW // 2


class SwinB(nn.Module):
    """Three stages of window attention on 4x4 patches; parameter names are the published ones.

    Maps inside are ``(B, h, w, C)``; the outputs are ``(B, C, h, w)`` in channels-last memory.
    """

    widths = (128, 256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(128)
        self.layers = nn.ModuleList(
            [
                Stage(128, depth=2, heads=4, merge=True),
                Stage(256, depth=2, heads=8, merge=True),
                Stage(512, depth=18, heads=16, merge=False),
            ]
        )
        self.norm0, self.norm1, self.norm2 = nn.LayerNorm(128), nn.LayerNorm(256), nn.LayerNorm(512)

    def forward(self, image: Tensor) -> Maps:
        x = self.patch_embed(image)
        maps = []
        for stage, norm in zip(self.layers, (self.norm0, self.norm1, self.norm2), strict=True):
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
            x = stage.downsample(x)  # type: ignore[operator]
        return maps[0], maps[1], maps[2], maps[2]


class PatchEmbedding(nn.Module):
    """4x4 pixels to one normed vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(padded).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks, every second one on shifted windows; ``downsample`` then leads to the next stage."""

    def __init__(self, width: int, *, depth: int, heads: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads=heads, shift=SHIFT * (index % 2)) for index in range(depth))
        self.downsample = PatchMerging(width) if merge else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class PatchMerging(nn.Module):
    """2x2 neighbours to one vector of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Block(nn.Module):
    """Window attention and a feed-forward network, both pre-normed residuals."""

    def __init__(self, width: int, *, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads=heads, shift=shift)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class WindowAttention(nn.Module):
    """Self attention inside 7x7 windows of the (rolled) map, with a learned bias per relative position."""

    def __init__(self, width: int, *, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        padded = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), (1, 2))
        rows, columns = padded.shape[1] // WINDOW, padded.shape[2] // WINDOW
        windows = padded.view(batch, rows, WINDOW, columns, WINDOW, channels).transpose(2, 3)
        windows = windows.reshape(batch * rows * columns, WINDOW**2, channels)

        mixed = self.proj(self._attend(windows, rows, columns))
        mixed = mixed.view(batch, rows, columns, WINDOW, WINDOW, channels).transpose(2, 3).reshape(padded.shape)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), (1, 2))
        return mixed[:, :height, :width]

    def _attend(self, windows: Tensor, rows: int, columns: int) -> Tensor:
        """Attention of ``(B * rows * columns, 49, C)`` windows."""
        num_windows, tokens, channels = windows.shape
        q, k, v = self.qkv(windows).view(num_windows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[relative_index().to(q.device)].permute(2, 0, 1)[None].to(q.dtype)
        if self.shift:
            apart = regions_apart(rows, columns).to(q)
            bias = (bias + apart[:, None]).repeat(num_windows // len(apart), 1, 1, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(num_windows, tokens, channels)


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # also training reads what is kept here
def relative_index() -> Tensor:
    """``(49, 49)``: the row of the bias table for each (query, key) pair of a window."""
    y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    dy, dx = ((axis.flatten()[:, None] - axis.flatten()[None, :]) + WINDOW - 1 for axis in (y, x))
    return dy * (2 * WINDOW - 1) + dx


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def regions_apart(rows: int, columns: int) -> Tensor:
    """``(rows * columns, 49, 49)``: -100 for pairs that the roll of a shifted map brought together, else 0."""

    def region(windows: int) -> Tensor:
        place = torch.arange(windows * WINDOW)
        return (place >= len(place) - WINDOW).int() + (place >= len(place) - SHIFT).int()

    regions = 3 * region(rows)[:, None] + region(columns)[None, :]
    regions = regions.view(rows, WINDOW, columns, WINDOW).transpose(1, 2).reshape(-1, WINDOW**2)
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, -100.0)
