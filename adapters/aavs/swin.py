"""Swin transformer with AAVS' adapters, under the names of the published checkpoints.

Liu et al., "Swin Transformer" (2021). Windows keep their size whatever the map's: maps are padded to whole windows.
``swin_adapt_1`` and ``swin_adapt_3`` are small residual networks after the attention and after the feed-forward part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.pieces import in_pieces


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

    def forward(self, x: Tensor, places: Tensor, blocked: Tensor | None) -> Tensor:
        """``places (L, L)`` are rows of the bias table; ``blocked (windows, 1, L, L)`` is added to the scores."""
        n, length, c = x.shape
        q, k, v = (f(x).view(n, length, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        bias = self.relative_position_bias_table[places].permute(2, 0, 1)[None]
        if blocked is not None:
            bias = (bias + blocked).repeat(n // len(blocked), 1, 1, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(n, length, c)


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
        self.window, self.shift = window, window // 2 if shifted else 0
        self.layernorm_before = nn.LayerNorm(channels)
        self.attention = nn.ModuleDict(
            {"self": WindowAttention(channels, heads=heads, window=window), "output": AttentionOutput(channels)}
        )
        self.layernorm_after = nn.LayerNorm(channels)
        self.intermediate = Intermediate(channels)
        self.output = Output(channels)

    def forward(self, x: Tensor, places: Tensor, blocked: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        y = F.pad(self.layernorm_before(x), (0, 0, 0, -w % self.window, 0, -h % self.window))
        padded = (y.shape[1], y.shape[2])
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        windows = self.attention["self"](split_windows(y, self.window), places, blocked if self.shift else None)
        y = join_windows(self.attention["output"](windows), padded, self.window)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + y[:, :h, :w]
        return x + in_pieces(self.feed_forward, x)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(self.layernorm_after(x)))


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the channels; odd maps are padded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Stage(nn.Module):
    """Blocks of one width; every second one shifts its windows. Merging comes after, not in the last stage."""

    def __init__(self, channels: int, *, depth: int, heads: int, window: int, last: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            Block(channels, heads=heads, window=window, shifted=j % 2 == 1) for j in range(depth)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's map, and what the next stage starts from."""
        places = relative_places(self.window, device=x.device)
        blocked = blocked_pairs(x.shape[1], x.shape[2], window=self.window, device=x.device)
        for block in self.blocks:
            x = block(x, places, blocked)
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


def split_windows(x: Tensor, window: int) -> Tensor:
    """``(N, h, w, C)`` as ``(N * windows, window * window, C)``."""
    n, h, w, c = x.shape
    return x.view(n, h // window, window, w // window, window, c).transpose(2, 3).reshape(-1, window**2, c)


def join_windows(windows: Tensor, size: tuple[int, int], window: int) -> Tensor:
    """The inverse of :func:`split_windows` for a map of this size."""
    h, w = size
    x = windows.view(-1, h // window, w // window, window, window, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, h, w, windows.shape[-1])


def relative_places(window: int, *, device: torch.device) -> Tensor:
    """``(L, L)`` rows of the bias table: how far two places of a window are apart, L = window * window."""
    side = torch.arange(window, device=device)
    place = torch.stack(torch.meshgrid(side, side, indexing="ij")).flatten(1)
    down, right = place[:, :, None] - place[:, None, :] + window - 1
    return down * (2 * window - 1) + right


def blocked_pairs(height: int, width: int, *, window: int, device: torch.device) -> Tensor:
    """``(windows, 1, L, L)``: -100 for pairs that a shift brought into one window from opposite borders, else 0."""
    shift = window // 2

    def region(length: int) -> Tensor:
        padded = length + -length % window
        return torch.bucketize(
            torch.arange(padded, device=device),
            torch.tensor([padded - window, padded - shift], device=device),
            right=True,
        )

    regions = 3 * region(height)[:, None] + region(width)
    rows = split_windows(regions[None, :, :, None], window)[..., 0]
    return (rows[:, None, :] != rows[:, :, None])[:, None] * -100.0
