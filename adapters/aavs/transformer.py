"""Mask2Former's masked-attention decoder, asked by queries that carry the sound.

Stage 2 also takes the mask of stage 1: it decides where the first layer looks and marks every key as sounding,
silent or uncertain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.mask2former import CHANNELS, HEADS, blocked_keys, level_values, look, mask_logits, resize
from ...layers.positions import sine_position
from .pixel_decoder import AavsStage
from .swin import bottleneck

SILENT, SOUNDING = 0.4, 0.6  # between them a pixel of the first stage's mask is uncertain


class Answer(NamedTuple):
    """Normed queries ``(N, Q, 256)`` and their mask logits ``(N, Q, h, w)`` at stride 4."""

    queries: Tensor
    masks: Tensor


class SelfAttention(nn.Module):
    """Attention among queries; the adapter replaces the output projection in stage 1 and follows it in stage 2."""

    def __init__(self, stage: AavsStage, channels: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.out_proj = nn.Linear(channels, channels) if stage == 2 else None
        self.avs_adapt = bottleneck(channels)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        n, length, c = x.shape
        placed = x + position
        q, k, v = (
            f(y).view(n, length, HEADS, -1).transpose(1, 2)
            for f, y in ((self.q_proj, placed), (self.k_proj, placed), (self.v_proj, x))
        )
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, c)
        return self.avs_adapt(heads if self.out_proj is None else self.out_proj(heads))


class DecoderLayer(nn.Module):
    """Masked attention to one level, attention among queries, feed-forward part; post-norm."""

    def __init__(self, stage: AavsStage, hidden: int, channels: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(stage, channels)
        self.self_attn_layer_norm = nn.LayerNorm(channels)
        self.cross_attn = nn.MultiheadAttention(channels, HEADS, batch_first=True)
        self.cross_attn_layer_norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.final_layer_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
        x = self.cross_attn_layer_norm(x + look(self.cross_attn, x + position, keys, values, blocked))
        x = self.self_attn_layer_norm(x + self.self_attn(x, position))
        return self.final_layer_norm(x + self.fc2(F.relu(self.fc1(x))))


class MaskPredictor(nn.Module):
    """Queries to mask logits: a three-layer perceptron, then the dot product with every pixel's mask feature."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask_embedder = nn.Sequential(
            *(nn.Sequential(nn.Linear(channels, channels), nn.ReLU()) for _ in range(2)),
            nn.Sequential(nn.Linear(channels, channels)),
        )

    def forward(self, queries: Tensor, features: Tensor) -> Tensor:
        return mask_logits(self.mask_embedder(queries), features)


class Decoder(nn.Module):
    def __init__(self, stage: AavsStage, *, layers: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(stage, hidden, channels) for _ in range(layers))
        self.layernorm = nn.LayerNorm(channels)
        self.mask_predictor = MaskPredictor(channels)

    def answer(self, x: Tensor, features: Tensor) -> Answer:
        queries = self.layernorm(x)
        return Answer(queries, self.mask_predictor(queries, features))


class TransformerModule(nn.Module):
    """Features, mask features and audio ``(N, 256)`` (one token a frame) to :class:`Answer` s, one a layer."""

    def __init__(self, stage: AavsStage, *, queries: int, layers: int, hidden: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.queries_embedder = nn.Embedding(queries, channels)
        self.queries_features = nn.Embedding(queries, channels)
        self.decoder = Decoder(stage, layers=layers, hidden=hidden, channels=channels)
        self.level_embed = nn.Embedding(3, channels)
        if stage == 2:
            self.audio_embed, self.silence_embed, self.uncertain_embed = (nn.Embedding(1, channels) for _ in range(3))

    def answers(self, levels: list[Tensor], features: Tensor, audio: Tensor, boost: Tensor | None) -> Iterator[Answer]:
        """What the queries say before the first layer and after each.

        ``boost (N, 1, h, w)`` in [0, 1] is the first stage's mask; stage 2 needs it, stage 1 has none.
        """
        place = self.queries_embedder.weight
        likeness = F.cosine_similarity(place[None], audio[:, None], dim=-1)[..., None]
        x = self.queries_features.weight + likeness * audio[:, None]

        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        values = level_values(levels, self.level_embed.weight)
        keys = [
            value
            + sine_position(*size, normalised=True, device=x.device, channels=x.shape[-1])
            + self.heard(boost, size)
            for value, size in zip(values, sizes, strict=True)
        ]
        answer = self.decoder.answer(x, features)
        yield answer
        for i, layer in enumerate(self.decoder.layers):
            level = i % len(levels)
            if i == 0 and boost is not None:
                blocked = blocked_keys(boost, sizes[0], logits=False).expand(-1, x.shape[1], -1)
            else:
                blocked = blocked_keys(answer.masks, sizes[level])
            x = layer(x, place, keys[level], values[level], blocked)
            answer = self.decoder.answer(x, features)
            yield answer

    def heard(self, boost: Tensor | None, size: tuple[int, int]) -> Tensor | float:
        """``(N, h * w, 256)``: the embedding that the first stage's mask gives to each key (nothing in stage 1)."""
        if boost is None:
            return 0.0
        mask = resize(boost, size).flatten(1)[..., None]
        heard = torch.where(mask >= SOUNDING, self.audio_embed.weight, self.uncertain_embed.weight)
        return torch.where(mask <= SILENT, self.silence_embed.weight, heard)
