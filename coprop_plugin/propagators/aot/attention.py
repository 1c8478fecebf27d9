"""Attention over all tokens, and over a 15x15 window around each query."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import merge_heads, split_heads
from .grid import RADIUS, WINDOW, Grid

# Numbers of one block of attention logits: what stays in a CPU's cache, what a GPU has room for.
BLOCK_LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}


def attend(q: Tensor, k: Tensor, v: Tensor, *, heads: int) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` over all keys: ``(B, N, C)``, ``(B, M, C)`` and ``(B, M, D)`` to ``(B, N, D)``."""
    if k.shape[2] == v.shape[2]:
        q, k, v = (split_heads(tokens, heads) for tokens in (q, k, v))
        return merge_heads(F.scaled_dot_product_attention(q, k, v))
    # Wider values than keys (DeAOT) have no fused kernel: bound the logits by taking the queries in blocks.
    block = max(1, _block_logits(q) // (heads * len(q) * k.shape[1]))
    k, v = split_heads(k, heads), split_heads(v, heads)
    parts = [F.scaled_dot_product_attention(part, k, v) for part in split_heads(q, heads).split(block, dim=2)]
    return merge_heads(torch.cat(parts, dim=2))


class SelfAttention(nn.Module):
    """8-head attention of tokens among themselves; positions are added to queries and keys only."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_Q, self.linear_K = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.linear_V, self.projection = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        placed = tokens + position.to(tokens.dtype)
        q, k, v = self.linear_Q(placed), self.linear_K(placed), self.linear_V(tokens)
        return self.projection(attend(q, k, v, heads=self.heads))


class LongTermAttention(nn.Module):
    """Attention to the tokens of remembered frames; queries, keys and values come ready."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(channels, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.projection(attend(q, k, v, heads=self.heads))


class LocalAttention(nn.Module):
    """Attention to the 15x15 window of the last frame around each query, with relative positions.

    Args:
        relative_values: a learned value per relative position is added (AOT; DeAOT has none).
    """

    def __init__(self, channels: int, *, heads: int, relative_values: bool) -> None:
        super().__init__()
        self.heads = heads
        self.relative_emb_k = nn.Conv2d(channels, heads * WINDOW**2, 1, groups=heads)
        self.relative_emb_v: nn.Parameter | None = None
        if relative_values:
            self.relative_emb_v = nn.Parameter(torch.zeros(heads, channels // heads, WINDOW**2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """``(B, N, D)``: the windows' values, weighted; the projection is the caller's."""
        q, k, v = (split_heads(tokens, self.heads) for tokens in (q, k, v))
        bias = self._relative_bias(q, grid)
        scaled = q * q.shape[-1] ** -0.5
        mixed = q.new_empty(*q.shape[:3], v.shape[-1])
        for rows, queries, keys in _blocks(grid, batch=len(q), heads=self.heads, limit=_block_logits(q)):
            window = grid.window_keys[queries] - keys.start
            mixed[rows, :, queries] = self._mix_block(
                scaled[rows, :, queries], k[rows, :, keys], v[rows, :, keys], bias[rows, :, queries], window
            )
        return merge_heads(mixed)

    def _mix_block(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, window: Tensor) -> Tensor:
        """Dense logits of a block of queries, of which each query's own window is gathered."""
        logits = q @ k.transpose(-1, -2)
        window = window.expand_as(bias)
        weights = logits.gather(-1, window).add_(bias).softmax(-1).to(logits.dtype)
        mixed = torch.zeros_like(logits).scatter_add_(-1, window, weights) @ v
        if self.relative_emb_v is not None:
            mixed += weights @ self.relative_emb_v.to(weights.dtype).transpose(-1, -2)
        return mixed

    def _relative_bias(self, q: Tensor, grid: Grid) -> Tensor:
        """``(B, heads, N, 225)``: the grouped 1x1 convolution of the unscaled queries, as a product per head.

        Places outside the grid get minus infinity.
        """
        weight = self.relative_emb_k.weight.view(self.heads, WINDOW**2, -1).to(q.dtype)
        assert self.relative_emb_k.bias is not None
        constant = self.relative_emb_k.bias.view(self.heads, 1, WINDOW**2) + grid.window_mask
        return (q @ weight.transpose(-1, -2)).add_(constant.to(q.dtype))


class ShortTermAttention(LocalAttention):
    """AOT's: local attention and its projection."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__(channels, heads=heads, relative_values=True)
        self.projection = nn.Linear(channels, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        return self.projection(self.mix(q, k, v, grid))


def _block_logits(like: Tensor) -> int:
    return BLOCK_LOGITS.get(like.device.type, BLOCK_LOGITS["cpu"])


def _blocks(grid: Grid, *, batch: int, heads: int, limit: int) -> Iterator[tuple[slice, slice, slice]]:
    """Blocks of sequences, their queries (whole rows of the grid) and the keys that their windows can reach."""
    step = next(
        (n for n in (grid.height, 8, 4) if heads * n * min(grid.height, n + 2 * RADIUS) * grid.width**2 <= limit), 2
    )
    per_sequence = heads * step * min(grid.height, step + 2 * RADIUS) * grid.width**2
    sequences = max(1, limit // per_sequence)
    for first in range(0, batch, sequences):
        for y in range(0, grid.height, step):
            end = min(grid.height, y + step)
            yield (
                slice(first, min(batch, first + sequences)),
                slice(y * grid.width, end * grid.width),
                slice(max(0, y - RADIUS) * grid.width, min(grid.height, end + RADIUS) * grid.width),
            )
