"""DeAOT's propagation layer: a visual and an identity stream, one head, gated."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import LocalAttention, attend
from .grid import Grid
from .layer import Entry, Memories

KEYS = 128  # width of queries and keys; values are twice the tokens' width a stream


class GatedCurrent(NamedTuple):
    """What a gated layer keeps of the current frame until its identity is known."""

    keys: Tensor
    values: Tensor
    identity_stream: Tensor | None


class GatedLayer(nn.Module):
    """One DeAOT layer on ``(B, N, 512)`` tokens, visual and identity side by side; published parameter names.

    Args:
        first: the first layer has no identity stream yet; its gate is open there.
    """

    def __init__(self, channels: int = 256, *, first: bool) -> None:
        super().__init__()
        self.channels, self.first, wide = channels, first, 2 * channels
        self.norm1, self.norm2, self.id_norm2 = (nn.LayerNorm(channels) for _ in range(3))
        self.linear_QV, self.linear_U = nn.Linear(channels, KEYS + wide), nn.Linear(channels, wide)
        self.linear_ID_V = nn.Linear(channels if first else wide, wide)
        if not first:
            self.id_norm1 = nn.LayerNorm(channels)
            self.linear_ID_U = nn.Linear(channels, wide)
        self.long_term_attn = GatedProjection(2 * wide, wide)
        self.short_term_attn = GatedLocalAttention(2 * wide, wide)
        self.self_attn = GatedSelfAttention(channels)

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Memories | None, identity: Tensor | None = None
    ) -> tuple[Tensor, GatedCurrent]:
        """As :meth:`PropagationLayer.forward`, on both streams."""
        visual, identities = tokens.split(self.channels, dim=-1)
        normed = self.norm1(visual)
        query, value = self.linear_QV(normed).split((KEYS, 2 * self.channels), dim=-1)
        gate = F.silu(self.linear_U(normed))
        stream = None if self.first else self.id_norm1(identities)
        opened = torch.ones_like(gate) if stream is None else F.silu(self.linear_ID_U(stream))
        gate = torch.cat([gate, opened], dim=-1)

        current = GatedCurrent(query, F.silu(value), stream)
        if memories is None:
            assert identity is not None
            own = self.remember(current, identity)
            memories = Memories(own, own)
        tokens = tokens + self.long_term_attn(attend(query, *memories.long, heads=1), gate, grid)
        tokens = tokens + self.short_term_attn(query, *memories.short, gate, grid)
        visual, identities = tokens.split(self.channels, dim=-1)
        return tokens + self.self_attn(self.norm2(visual), self.id_norm2(identities), grid), current

    def remember(self, current: GatedCurrent, identity: Tensor) -> Entry:
        """The memory entry of a frame and its ``(B, N, 256)`` identity embedding."""
        stream = current.identity_stream
        known = identity if stream is None else torch.cat([stream, identity], dim=-1)
        return Entry(current.keys, torch.cat([current.values, F.silu(self.linear_ID_V(known))], dim=-1))


class GatedProjection(nn.Module):
    """``projection(dwconv5x5(mixed * gate))``: how every gated attention ends."""

    def __init__(self, values: int, channels: int) -> None:
        super().__init__()
        self.dw_conv = DepthwiseConv(values)
        self.projection = nn.Linear(values, channels)

    def forward(self, mixed: Tensor, gate: Tensor, grid: Grid) -> Tensor:
        return self.projection(self.dw_conv(mixed * gate, grid))


class GatedLocalAttention(LocalAttention):
    """Local attention of one head, gated."""

    def __init__(self, values: int, channels: int) -> None:
        super().__init__(KEYS, heads=1, relative_values=False)
        self.dw_conv = DepthwiseConv(values)
        self.projection = nn.Linear(values, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, gate: Tensor, grid: Grid) -> Tensor:
        return self.projection(self.dw_conv(self.mix(q, k, v, grid) * gate, grid))


class GatedSelfAttention(nn.Module):
    """Attention among the tokens of a frame; both streams share queries and keys, each has its values and gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw_conv = DepthwiseConv(4 * channels)
        self.projection = nn.Linear(4 * channels, 2 * channels)
        self.linear_QK = nn.Linear(2 * channels, KEYS)
        self.linear_V1, self.linear_V2 = nn.Linear(channels, 2 * channels), nn.Linear(channels, 2 * channels)
        self.linear_U1, self.linear_U2 = nn.Linear(channels, 2 * channels), nn.Linear(channels, 2 * channels)

    def forward(self, visual: Tensor, identities: Tensor, grid: Grid) -> Tensor:
        query = self.linear_QK(torch.cat([visual, identities], dim=-1))
        value = F.silu(torch.cat([self.linear_V1(visual), self.linear_V2(identities)], dim=-1))
        gate = F.silu(torch.cat([self.linear_U1(visual), self.linear_U2(identities)], dim=-1))
        return self.projection(self.dw_conv(attend(query, query, value, heads=1) * gate, grid))


class DepthwiseConv(nn.Module):
    """A depthwise 5x5 convolution of tokens on their grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        return grid.as_tokens(self.conv(grid.as_map(tokens)))
