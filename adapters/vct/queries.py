"""Queries that come from the picture: mixed over all pixels, prompted by prototypes, and given regions of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import attend
from ...layers.mask2former import CHANNELS

PROMPT_HEADS = 4


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class Prompt(nn.Module):
    """Queries look at the prototypes, which are constants: nothing of the sound enters here."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(CHANNELS, PROMPT_HEADS, batch_first=True)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, queries: Tensor, prototypes: Tensor) -> Tensor:
        prototypes = prototypes.expand(len(queries), -1, -1)
        return self.norm(queries + attend(self.multihead_attn, queries, prototypes, prototypes))


class Grouping(nn.Module):
    """Every pixel belongs wholly to one query, which receives the sum of its pixels over their number plus one."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.proj = (nn.Linear(CHANNELS, CHANNELS) for _ in range(4))

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """``queries (N, Q, C)`` and ``pixels (N, P, C)`` to what each query receives, ``(N, Q, C)``."""
        owned = F.one_hot(self.owner(queries, pixels), queries.shape[1]).transpose(1, 2).float()  # (N, Q, P)
        received = owned.to(pixels.dtype) @ self.v_proj(pixels) / (owned.sum(-1, keepdim=True) + 1)
        return self.proj(received)

    def owner(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """``(N, P)``: the query of each pixel, the first of equal ones; in float32 whatever runs around it."""
        with torch.autocast(pixels.device.type, enabled=False):
            keys = self.k_proj(pixels.float())
            return (self.q_proj(queries.float()) @ keys.transpose(1, 2) / CHANNELS**0.5).argmax(1)


class VisualQueryBlock(nn.Module):
    """Mask features ``(N, 256, h, w)`` to Q queries ``(N, Q, 256)``; ``h * w`` is fixed by the weights."""

    def __init__(self, *, queries: int, pixels: int, prototypes: int) -> None:
        super().__init__()
        self.pre_proj = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 1),
        )
        self.query_mixer = Perceptron((pixels, CHANNELS, CHANNELS, queries))
        self.prototype = nn.Embedding(prototypes, CHANNELS) if prototypes else None
        self.pre_attn = Prompt() if prototypes else None
        self.assign_attn = Grouping()

    def forward(self, features: Tensor) -> Tensor:
        pixels = self.pre_proj(features).flatten(2)
        queries = self.query_mixer(pixels).transpose(1, 2)
        if self.pre_attn is not None and self.prototype is not None:
            queries = self.pre_attn(queries, self.prototype.weight)
        return queries + self.assign_attn(queries, pixels.transpose(1, 2))
