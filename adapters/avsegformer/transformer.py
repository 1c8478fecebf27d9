"""AVSegFormer's three stacks: the audio query generator, the deformable encoder, the query decoder (all post-norm)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import attend
from ...layers.deformable import DeformableAttention, Sizes, token_centres
from ...layers.pieces import in_pieces

CHANNELS = 256
HEADS = 8


def attention(*, bias: bool = True) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(CHANNELS, HEADS, bias=bias, batch_first=True)


class SingleKeyAttention(nn.MultiheadAttention):
    """Attention to one token: the softmax over one key is 1, so every query gets that token's value."""

    def forward(self, token: Tensor) -> Tensor:  # type: ignore[override]
        assert self.in_proj_weight is not None
        return self.out_proj(F.linear(token, self.in_proj_weight[2 * self.embed_dim :]))


class QueryGeneratorLayer(nn.Module):
    """Queries attend to each other, take up the frame's one audio token, and pass a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = attention(bias=False)
        self.cross_attn = SingleKeyAttention(CHANNELS, HEADS, bias=False)
        self.ffn = nn.Sequential(nn.Linear(CHANNELS, 1024), nn.GELU(), nn.Linear(1024, CHANNELS))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(CHANNELS) for _ in range(3))

    def forward(self, query: Tensor, audio: Tensor) -> Tensor:
        query = self.norm1(query + attend(self.self_attn, query, query, query))
        query = self.norm2(query + self.cross_attn(audio))
        return self.norm3(query + self.ffn(query))


class QueryGenerator(nn.Module):
    """Audio token ``(N, 1, 256)`` to audio-conditioned queries ``(N, 300, 256)``."""

    def __init__(self, *, queries: int, layers: int = 6) -> None:
        super().__init__()
        self.query = nn.Embedding(queries, CHANNELS)
        self.layers = nn.ModuleList(QueryGeneratorLayer() for _ in range(layers))

    def forward(self, audio: Tensor) -> Tensor:
        query = self.query.weight.expand(len(audio), -1, -1)
        for layer in self.layers:
            query = layer(query, audio)
        return query


class EncoderLayer(nn.Module):
    """Deformable attention over the tokens of all levels, and a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(CHANNELS, heads=HEADS)
        self.norm1 = nn.LayerNorm(CHANNELS)
        self.linear1 = nn.Linear(CHANNELS, 2048)
        self.linear2 = nn.Linear(2048, CHANNELS)
        self.norm2 = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, x, sizes, centres))
        return self.norm2(x + in_pieces(self.feed_forward, x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.gelu(self.linear1(x)))


class DecoderLayer(nn.Module):
    """Queries attend to each other, then to all tokens of the encoder; no positions here."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = attention()
        self.cross_attn = attention()
        self.linear1 = nn.Linear(CHANNELS, 2048)
        self.linear2 = nn.Linear(2048, CHANNELS)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(CHANNELS) for _ in range(3))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query = self.norm1(query + attend(self.self_attn, query, query, query))
        query = self.norm2(query + attend(self.cross_attn, query, memory, memory))
        return self.norm3(query + self.linear2(F.gelu(self.linear1(query))))


class Encoder(nn.Module):
    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer() for _ in range(layers))

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes) -> Tensor:
        centres = token_centres(sizes, device=x.device)
        for layer in self.layers:
            x = layer(x, position, sizes, centres)
        return x


class Decoder(nn.Module):
    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(layers))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            query = layer(query, memory)
        return query


class Transformer(nn.Module):
    """Tokens ``(N, S, 256)`` and queries ``(N, 300, 256)`` to memory ``(N, S, 256)`` and queries of the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, x: Tensor, position: Tensor, sizes: Sizes, query: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.encoder(x, position, sizes)
        return memory, self.decoder(query, memory)
