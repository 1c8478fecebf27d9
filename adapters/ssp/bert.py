"""BERT with cross-attention, under the names of transformers' BertModel, attending to both sides.

transformers' own takes cross-attention in a decoder alone, whose self-attention looks back only; SSP's alignment looks
both ways. Devlin et al. (2019); cross-attention as in BLIP-2's Q-Former. No dropout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12


@dataclass(frozen=True)
class BertSizes:
    """Sizes, by the names that a config.json has for them."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2


class Embeddings(nn.Module):
    """Token vectors get their place and their kind, then a norm."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, sizes.hidden_size)
        self.token_type_embeddings = nn.Embedding(sizes.type_vocab_size, sizes.hidden_size)
        self.LayerNorm = nn.LayerNorm(sizes.hidden_size, eps=EPSILON)

    def forward(self, x: Tensor, places: Tensor, kinds: Tensor) -> Tensor:
        return self.LayerNorm(x + self.token_type_embeddings(kinds) + self.position_embeddings(places))


class Projections(nn.Module):
    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(sizes.hidden_size, sizes.hidden_size) for _ in range(3))


class Residual(nn.Module):
    """A linear layer, added to what came in, then a norm."""

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_size, out_size)
        self.LayerNorm = nn.LayerNorm(out_size, eps=EPSILON)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return self.LayerNorm(before + self.dense(x))


class Attention(nn.Module):
    """Queries ``x (N, L, D)`` look at keys ``(N, K, D)`` where ``mask (N, K) bool`` is true."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.heads = sizes.num_attention_heads
        self.self = Projections(sizes)
        self.output = Residual(sizes.hidden_size, sizes.hidden_size)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            project(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, y in ((self.self.query, x), (self.self.key, keys), (self.self.value, keys))
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.output(seen.transpose(1, 2).flatten(2), x)


class Widened(nn.Module):
    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden_size, sizes.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.crossattention = Attention(sizes)
        self.intermediate = Widened(sizes)
        self.output = Residual(sizes.intermediate_size, sizes.hidden_size)

    def forward(self, x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        x = self.attention(x, x, mask)
        x = self.crossattention(x, other, other_mask)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))


class Bert(nn.Module):
    """Token vectors ``(N, L, D)`` and what they look at ``(N, K, D)`` to hidden states ``(N, L, D)``."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Encoder(sizes)
        # The number of heads shows in no shape: it travels with the weights.
        self.register_buffer("heads", torch.tensor([sizes.num_attention_heads]))

    def forward(
        self, x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor, *, places: Tensor, kinds: Tensor
    ) -> Tensor:
        """Masks are ``(N, L)`` and ``(N, K) bool``, true where there is something; every row needs one such place.

        Args:
            places, kinds: ``(L,)`` position and token type of each token.
        """
        x = self.embeddings(x, places, kinds)
        for layer in self.encoder.layer:
            x = layer(x, mask, other, other_mask)
        return x
