"""AOT's propagation layer: self attention, long- and short-term attention, feed-forward."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import LongTermAttention, SelfAttention, ShortTermAttention
from .grid import Grid


class Entry(NamedTuple):
    """What a layer remembers of one frame whose identity is known: ``(B, N, C)`` keys and ``(B, N, D)`` values."""

    keys: Tensor
    values: Tensor


class Memories(NamedTuple):
    """What a layer reads: all remembered frames (tokens side by side), and the last one."""

    long: Entry
    short: Entry


class Current(NamedTuple):
    """What a layer keeps of the current frame until its identity is known."""

    keys: Tensor
    values: Tensor


class PropagationLayer(nn.Module):
    """One AOT layer on ``(B, N, 256)`` tokens; parameter names are the published ones."""

    def __init__(self, channels: int = 256, *, heads: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.self_attn = SelfAttention(channels, heads=heads)
        self.linear_Q, self.linear_V = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.long_term_attn = LongTermAttention(channels, heads=heads)
        self.short_term_attn = ShortTermAttention(channels, heads=heads)
        self.linear1, self.linear2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.activation = NormAndMix(4 * channels)

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Memories | None, identity: Tensor | None = None
    ) -> tuple[Tensor, Current]:
        """The tokens after this layer, and what to keep of the frame.

        Without memories (a reference frame) the layer reads its own entry, made with ``identity``.
        """
        tokens = tokens + self.self_attn(self.norm1(tokens), grid.position)
        normed = self.norm2(tokens)
        current = Current(self.linear_Q(normed), normed)
        if memories is None:
            assert identity is not None
            own = self.remember(current, identity)
            memories = Memories(own, own)
        query = current.keys
        tokens = tokens + self.long_term_attn(query, *memories.long)
        tokens = tokens + self.short_term_attn(query, *memories.short, grid)
        hidden = self.activation(self.linear1(self.norm3(tokens)), grid)
        return tokens + self.linear2(hidden), current

    def remember(self, current: Current, identity: Tensor) -> Entry:
        """The memory entry of a frame and its ``(B, N, 256)`` identity embedding."""
        return Entry(current.keys, self.linear_V(current.values + identity))


class NormAndMix(nn.Module):
    """Group norm, GELU and a depthwise 5x5 convolution between the two linear maps of the feed-forward."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(32, channels)
        self.conv = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        return grid.as_tokens(self.conv(F.gelu(self.gn(grid.as_map(tokens)))))
