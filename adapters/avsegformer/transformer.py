"""AVSegFormer's three stacks: the audio query generator, the deformable encoder, the query decoder (all post-norm)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import attend
from ...layers.deformable import DeformableAttention, Sizes, token_centres
from ...layers.pieces import in_pieces

HEADS = 8


@dataclass(frozen=True)
class Form:
    """How large the stacks are; all other widths of the head go with ``width``. As published by default.

    Attributes:
        width: numbers of a token and of a query.
        queries: of a frame.
        layers: of each stack.
    """

    width: int = 256
    queries: int = 300
    layers: int = 6


PUBLISHED = Form()


def attention(width: int, *, bias: bool = True) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(width, HEADS, bias=bias, batch_first=True)


class SingleKeyAttention(nn.MultiheadAttention):
    """Attention to one token: the softmax over one key is 1, so every query gets that token's value."""

    def forward(self, token: Tensor) -> Tensor:  # type: ignore[override]
        assert self.in_proj_weight is not None
        return self.out_proj(F.linear(token, self.in_proj_weight[2 * self.embed_dim :]))


class QueryGeneratorLayer(nn.Module):
    """Queries attend to each other, take up the frame's one audio token, and pass a feed-forward part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = attention(width, bias=False)
        self.cross_attn = SingleKeyAttention(width, HEADS, bias=False)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, query: Tensor, audio: Tensor) -> Tensor:
        query = self.norm1(query + attend(self.self_attn, query, query, query))
        query = self.norm2(query + self.cross_attn(audio))
        return self.norm3(query + self.ffn(query))


class QueryGenerator(nn.Module):
    """Audio token ``(N, 1, 256)`` to audio-conditioned queries ``(N, 300, 256)``."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.query = nn.Embedding(form.queries, form.width)
        self.layers = nn.ModuleList(QueryGeneratorLayer(form.width) for _ in range(form.layers))

    def forward(self, audio: Tensor) -> Tensor:
        query = self.query.weight.expand(len(audio), -1, -1)
        for layer in self.layers:
            query = layer(query, audio)
        return query


class EncoderLayer(nn.Module):
    """Deformable attention over the tokens of all levels, and a feed-forward part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, heads=HEADS)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 8 * width)
        self.linear2 = nn.Linear(8 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, x, sizes, centres))
        return self.norm2(x + in_pieces(self.feed_forward, x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.gelu(self.linear1(x)))


class DecoderLayer(nn.Module):
    """Queries attend to each other, then to all tokens of the encoder; no positions here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = attention(width)
        self.cross_attn = attention(width)
        self.linear1 = nn.Linear(width, 8 * width)
        self.linear2 = nn.Linear(8 * width, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query = self.norm1(query + attend(self.self_attn, query, query, query))
        query = self.norm2(query + attend(self.cross_attn, query, memory, memory))
        return self.norm3(query + self.linear2(F.gelu(self.linear1(query))))


class Encoder(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(form.width) for _ in range(form.layers))

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes) -> Tensor:
        centres = token_centres(sizes, device=x.device)
        for layer in self.layers:
            x = layer(x, position, sizes, centres)
        return x


class Decoder(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(form.width) for _ in range(form.layers))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            query = layer(query, memory)
        return query


class Transformer(nn.Module):
    """Tokens ``(N, S, 256)`` and queries ``(N, 300, 256)`` to memory ``(N, S, 256)`` and queries of the last layer."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.encoder = Encoder(form)
        self.decoder = Decoder(form)

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, query: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.encoder(x, position, sizes)
        return memory, self.decoder(query, memory)
