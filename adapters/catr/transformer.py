"""CATR's transformer: a spatial encoder, an audio-visual temporal encoder with gates, a query decoder (post-norm).

Token shapes: frames T = 5 of one clip, S = h * w pixel tokens a frame, five audio tokens; width 256, 8 heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.attention import attend
from ...layers.pieces import in_pieces
from ...layers.positions import sine_position

CHANNELS = 256
HEADS = 8
HIDDEN = 2048  # of feed-forward parts
AUDIO_TOKENS = 5


def attention(channels: int = CHANNELS) -> nn.MultiheadAttention:
    """Of heads of 32 channels, as published."""
    return nn.MultiheadAttention(channels, channels * HEADS // CHANNELS, batch_first=True)


class EncoderLayer(nn.Module):
    """Self-attention over the tokens of one frame, positions on queries and keys, and a feed-forward part."""

    def __init__(self, channels: int = CHANNELS, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.self_attn = attention(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        placed = x + position
        x = self.norm1(x + attend(self.self_attn, placed, placed, x))
        return self.norm2(x + in_pieces(self.feed_forward, x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.linear1(x).relu_())


class CrossModal(nn.Module):
    """``x * r * r`` with ``r`` the attention of x to the other modality (the published module multiplies twice)."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = attention()

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        response = attend(self.multihead_attn, x, key, value)
        return x * response * response


class TemporalLayer(EncoderLayer):
    """An encoder layer a frame, then the pixels of all frames and the five audio tokens gate each other."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.av_atten = CrossModal()
        self.va_atten = None if last else CrossModal()  # in the last layer nothing reads the audio again

    def forward(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Tokens ``(B, T, S + 5, 256)`` to the next tokens and this layer's pixels ``(B, T, S, 256)``."""
        b, t, tokens, c = x.shape
        pixels = tokens - AUDIO_TOKENS
        x = super().forward(x.flatten(0, 1), position).view(b, t, tokens, c)
        audio = x[:, 0, pixels:]  # the other frames' copies are dropped
        video = self.av_atten(x[:, :, :pixels].reshape(b, t * pixels, c), audio, audio)
        if self.va_atten is not None:
            placed = video.view(b, t, pixels, c) + position[:pixels]
            audio = self.va_atten(audio, placed.flatten(1, 2), video)
        video = video.view(b, t, pixels, c)
        return torch.cat([video, audio[:, None].expand(-1, t, -1, -1)], dim=2), video


class GatedFusion(nn.Sequential):
    """3x3 convolution, batch norm, and a PReLU with one slope."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.PReLU())


class TemporalEncoder(nn.Module):
    """Three audio-visual layers, whose pixel maps are gated into one: the video memory ``(B T, 256, h, w)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TemporalLayer(last=i == 2) for i in range(3))
        self.attention_feature = nn.Sequential(nn.Conv2d(2 * CHANNELS, 2, 3, padding=1))
        self.output1 = GatedFusion()
        self.output2 = GatedFusion()

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int]) -> Tensor:
        maps = []
        for layer in self.layers:
            x, video = layer(x, position)
            maps.append(video.flatten(0, 1).transpose(1, 2).unflatten(-1, size))
        first, second, third = maps
        gates = self.attention_feature(torch.cat([first, second], dim=1)).sigmoid().mean((2, 3))  # (B T, 2)
        fused = self.output1(gates[:, 0, None, None, None] * second)
        # The published code runs the convolution on (second, third) too, then overwrites the result with this value.
        weight = gates.sigmoid().mean(1)[:, None, None, None]
        return self.output2(fused + weight * third)


class SpatialEncoder(nn.Module):
    """Three encoder layers a frame; the query decoder's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer() for _ in range(3))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, position)
        return x


class DecoderLayer(nn.Module):
    """Queries attend to each other and to the frame's memory (pixels and audio tokens)."""

    def __init__(self, channels: int = CHANNELS, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.self_attn = attention(channels)
        self.multihead_attn = attention(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, content: Tensor, query: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        placed = content + query
        content = self.norm1(content + attend(self.self_attn, placed, placed, content))
        content = self.norm2(content + attend(self.multihead_attn, content + query, keys, memory))
        return self.norm3(content + self.linear2(F.relu(self.linear1(content))))


class Decoder(nn.Module):
    """Queries ``(50, 256)`` and memory ``(B T, S + 5, 256)`` to the normed contents of all layers, ``(3, B T, 50, 256)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(3))
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, query: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        keys = memory + position
        content = torch.zeros(len(memory), *query.shape, device=memory.device, dtype=memory.dtype)
        contents = []
        for layer in self.layers:
            content = layer(content, query, memory, keys)
            contents.append(self.norm(content))
        return torch.stack(contents)


class AudioProjection(nn.Module):
    """VGGish rows ``(..., 128)`` to audio tokens ``(..., 256)``; this layer norm has eps 1e-12."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(128, CHANNELS)
        self.layer_norm = nn.LayerNorm(CHANNELS, eps=1e-12)

    def forward(self, audio: Tensor) -> Tensor:
        return self.layer_norm(self.fc(audio))


class Transformer(nn.Module):
    """Pixel features and VGGish rows to the video memory and the decoder's contents.

    Every frame sees all five audio tokens and nothing tells them apart: the result does not depend on their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spatial_encoder = SpatialEncoder()
        self.temporal_encoder = TemporalEncoder()
        self.decoder = Decoder()
        self.audio_proj = AudioProjection()

    def forward(self, video: Tensor, audio: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """``video (B, 5, 256, h, w)``, ``audio (B, 5, 128)``, ``query (50, 256)``."""
        _, t, _, h, w = video.shape
        pixels = video.flatten(3).transpose(2, 3)
        heard = self.audio_proj(audio)[:, None].expand(-1, t, -1, -1)
        x = torch.cat([pixels, heard], dim=2)
        position = F.pad(sine_position(h, w, normalised=True, device=video.device), (0, 0, 0, AUDIO_TOKENS))
        memory = self.spatial_encoder(x.flatten(0, 1), position)
        return self.temporal_encoder(x, position, (h, w)), self.decoder(query, memory, position)
