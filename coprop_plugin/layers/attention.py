"""Multi-head attention between sequences of tokens ``(B, N, C)``."""

from __future__ import annotations

from torch import Tensor, nn


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """``(B, N, C)`` as ``(B, heads, N, C / heads)``."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(tokens: Tensor) -> Tensor:
    """``(B, heads, N, d)`` as ``(B, N, heads * d)``."""
    return tokens.transpose(1, 2).flatten(2)


def attend(layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What a (batch-first) layer answers, without the weights, so that torch may take a fused kernel."""
    return layer(query, key, value, need_weights=False)[0]
