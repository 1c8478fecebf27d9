"""Mask2Former's masked-attention decoder with the sound as one more level, before the picture's three."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import attend
from ...layers.mask2former import CHANNELS, HEADS, Output, blocked_keys, level_values, look, mask_logits
from ...layers.positions import sine_position
from .queries import Perceptron, VisualQueryBlock

LEVELS = 4  # the sound, and strides 32, 16, 8
SOUND = 0


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None) -> Tensor:
        return self.norm(x + look(self.multihead_attn, x + position, keys, values, blocked))


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        placed = x + position
        return self.norm(x + attend(self.self_attn, placed, placed, x))


class FeedForward(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(CHANNELS, hidden)
        self.linear2 = nn.Linear(hidden, CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class Predictor(nn.Module):
    """Levels, mask features and the sound's map to the last layer's :class:`Output`."""

    def __init__(self, *, queries: int, pixels: int, prototypes: int, classes: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.visual_query_block = VisualQueryBlock(queries=queries, pixels=pixels, prototypes=prototypes)
        self.query_feat = nn.Embedding(queries, CHANNELS)
        self.query_embed = nn.Embedding(queries, CHANNELS)
        self.level_embed = nn.Embedding(LEVELS, CHANNELS)
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention() for _ in range(layers))
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttention() for _ in range(layers))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(hidden) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(CHANNELS)
        self.class_embed = nn.Linear(CHANNELS, classes + 1)
        self.mask_embed = Perceptron((CHANNELS,) * 4)

    def forward(self, levels: Sequence[Tensor], features: Tensor, heard: Tensor) -> Output:
        """``levels`` of strides 32, 16, 8, ``features`` of stride 4, ``heard (N, 256, time, mel)``."""
        maps = [heard, *levels]
        sizes = [x.shape[2:] for x in maps]
        values = level_values(maps, self.level_embed.weight)
        keys = [
            value + sine_position(*size, normalised=True, device=value.device)
            for value, size in zip(values, sizes, strict=True)
        ]
        x = self.query_feat.weight + self.visual_query_block(features)
        place = self.query_embed.weight
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for i, (cross, own, feed_forward) in enumerate(layers):
            level = i % LEVELS
            blocked = None if level == SOUND else blocked_keys(self.masks(x, features), sizes[level])
            x = feed_forward(own(cross(x, place, keys[level], values[level], blocked), place))
        return Output(self.class_embed(self.decoder_norm(x)), self.masks(x, features))

    def masks(self, x: Tensor, features: Tensor) -> Tensor:
        """``(N, Q, h, w)`` mask logits of queries, which stay un-normed from layer to layer."""
        return mask_logits(self.mask_embed(self.decoder_norm(x)), features)
