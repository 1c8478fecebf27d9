"""The Swin transformer under the names of its authors' checkpoints (Liu et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .windows import PatchMerging, attend_in_windows, in_windows


class Swin(nn.Module):
    """``(N, 3, H, W)`` normalised RGB to one normed map a stage, at strides 4, 8, 16, ...; the width doubles each time.

    Maps inside are ``(N, h, w, C)``; the outputs are ``(N, C, h, w)`` in channels-last memory.

    Args:
        embed_dim: channels of the first stage.
        depths, heads: blocks and heads of each stage; fewer than four stages leave out the last ones.
        window: the side of a window in cells.
        outputs: the stages whose maps are normed (``norm0``, ...) and returned; all by default.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        window: int = 7,
        outputs: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(embed_dim)
        self.layers = nn.ModuleList(
            Stage(embed_dim << i, depth=depth, heads=head, window=window, merge=i < len(depths) - 1)
            for i, (depth, head) in enumerate(zip(depths, heads, strict=True))
        )
        self.outputs = tuple(range(len(depths)) if outputs is None else outputs)
        for i in self.outputs:
            self.add_module(f"norm{i}", nn.LayerNorm(embed_dim << i))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.patch_embed(image)
        maps = []
        for i, stage in enumerate(self.layers):
            x = stage(x)
            if i in self.outputs:
                maps.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2))
            x = stage.downsample(x)  # type: ignore[operator]
        return maps


class PatchEmbedding(nn.Module):
    """4x4 pixels to one normed vector; the image is padded to whole patches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(padded).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks, every second one on shifted windows; ``downsample`` then leads to the next stage."""

    def __init__(self, channels: int, *, depth: int, heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, heads=heads, window=window, shifted=bool(index % 2)) for index in range(depth)
        )
        self.downsample = PatchMerging(channels) if merge else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """Window attention and a feed-forward network, both pre-normed residuals."""

    def __init__(self, channels: int, *, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads=heads, window=window, shifted=shifted)
        self.mlp = FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class WindowAttention(nn.Module):
    """Self-attention inside the windows of the (shifted) map, with a learned bias for every relative place."""

    def __init__(self, channels: int, *, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = heads, window, shifted
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return in_windows(x, self._mix, window=self.window, shifted=self.shifted)

    def _mix(self, windows: Tensor, blocked: Tensor | None) -> Tensor:
        q, k, v = self.qkv(windows).chunk(3, dim=-1)
        table = self.relative_position_bias_table
        return self.proj(attend_in_windows(q, k, v, heads=self.heads, bias_table=table, blocked=blocked))
