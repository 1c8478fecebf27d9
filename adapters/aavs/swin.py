"""Swin transformer with AAVS' adapters, under the names of the published checkpoints.

The names are those of transformers' Swin; windows and their attention are :mod:`coprop_plugin.layers.windows`.
``swin_adapt_1`` and ``swin_adapt_3`` are small residual networks after the attention and after the feed-forward part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.pieces import in_pieces
from ...layers.windows import PatchMerging, attend_in_windows, in_windows


def bottleneck(channels: int) -> nn.Sequential:
    """The adapter of Stepping Stones: down to a quarter, ReLU, up again."""
    return nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels))


class PatchProjection(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, channels, 4, 4)


class Embeddings(nn.Module):
    """``(N, 3, H, W)`` to normed 4x4 patches ``(N, h, w, C)``; the image is padded to whole patches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.patch_embeddings = PatchProjection(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        image = F.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))
        return self.norm(self.patch_embeddings.projection(image).permute(0, 2, 3, 1))


class WindowAttention(nn.Module):
    """Multi-head attention inside windows ``(windows, L, C)`` with a learned bias for every relative place."""

    def __init__(self, channels: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        table = self.relative_position_bias_table
        return attend_in_windows(q, k, v, heads=self.heads, bias_table=table, blocked=blocked)


class AttentionOutput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, channels)
        self.swin_adapt_1 = bottleneck(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense(x)
        return x + self.swin_adapt_1(x)


class Intermediate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class Output(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(4 * channels, channels)
        self.swin_adapt_3 = bottleneck(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense(x)
        return x + self.swin_adapt_3(x)


class Block(nn.Module):
    """Attention in (shifted) windows and a feed-forward part, pre-norm, on ``(N, h, w, C)``."""

    def __init__(self, channels: int, *, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shifted = window, shifted
        self.layernorm_before = nn.LayerNorm(channels)
        self.attention = nn.ModuleDict(
            {"self": WindowAttention(channels, heads=heads, window=window), "output": AttentionOutput(channels)}
        )
        self.layernorm_after = nn.LayerNorm(channels)
        self.intermediate = Intermediate(channels)
        self.output = Output(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + in_windows(self.layernorm_before(x), self._mix, window=self.window, shifted=self.shifted)
        return x + in_pieces(self.feed_forward, x)

    def _mix(self, windows: Tensor, blocked: Tensor | None) -> Tensor:
        return self.attention["output"](self.attention["self"](windows, blocked))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(self.layernorm_after(x)))


class Stage(nn.Module):
    """Blocks of one width; every second one shifts its windows. Merging comes after, not in the last stage."""

    def __init__(self, channels: int, *, depth: int, heads: int, window: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, heads=heads, window=window, shifted=j % 2 == 1) for j in range(depth)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's map, and what the next stage starts from."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class Encoder(nn.Module):
    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(stages)


class Swin(nn.Module):
    """``(N, 3, H, W)`` normalised RGB to four normed maps at strides 4, 8, 16, 32; the width doubles every stage."""

    def __init__(self, *, embed_dim: int, depths: Sequence[int], heads: Sequence[int], window: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(embed_dim)
        self.encoder = Encoder(
            [
                Stage(embed_dim << i, depth=depth, heads=head, window=window, last=i == len(depths) - 1)
                for i, (depth, head) in enumerate(zip(depths, heads, strict=True))
            ]
        )
        self.hidden_states_norms = nn.ModuleDict(
            {f"stage{i + 1}": nn.LayerNorm(embed_dim << i) for i in range(len(depths))}
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.embeddings(image)
        maps = []
        for stage, norm in zip(self.encoder.layers, self.hidden_states_norms.values(), strict=True):
            fine, x = stage(x)
            maps.append(norm(fine).permute(0, 3, 1, 2).contiguous())
        return maps
