"""AVSegFormer's head: four backbone maps and an audio token to mask logits and the gated mask feature."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.pieces import in_pieces
from ...layers.positions import sine_position
from .transformer import HEADS, PUBLISHED, Form, QueryGenerator, Transformer

GROUPS = 32
UNUSED = ("fpn.*", "attn_fc.*")


def projection(in_channels: int, width: int, *, kernel: int = 1) -> nn.Sequential:
    """A convolution to ``width`` channels and a group norm; further layers without weights may follow."""
    return nn.Sequential(nn.Conv2d(in_channels, width, kernel, padding=kernel // 2), nn.GroupNorm(GROUPS, width))


class AudioVisualMixer(nn.Module):
    """The audio token looks over the mask feature and gates its channels: ``M * sigmoid(proj(attention(u, M)))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width, bias=False)
        self.kv_proj = nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def gate(self, feature: Tensor, audio: Tensor) -> Tensor:
        """``(N, 256)`` in [0, 1] for ``feature (N, 256, h, w)`` and ``audio (N, 1, 256)``."""
        n, width = feature.shape[:2]
        pixels = feature.flatten(2).transpose(1, 2)
        q = self.q_proj(audio).view(n, 1, HEADS, -1).transpose(1, 2)
        k, v = self.kv_proj(pixels).view(n, -1, 2, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).reshape(n, width)
        return self.proj(seen).sigmoid()

    def forward(self, feature: Tensor, audio: Tensor) -> Tensor:
        return feature * self.gate(feature, audio)[..., None, None]


class PixelMlp(nn.Module):
    """Three 1x1 convolutions over the similarities of each pixel to the queries, ReLU between them.

    The similarities ``query @ feature`` are linear, and so is the first convolution: their product is taken first,
    over the 256 channels of the feature, and the 300 similarities of a pixel are never made. Nor are the 2048 hidden
    channels of all pixels at once.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        widths = (form.queries, 8 * form.width, 8 * form.width, form.width)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))

    def forward(self, query: Tensor, feature: Tensor) -> Tensor:
        """``query (N, 300, 256)`` and ``feature (N, 256, h, w)`` to ``(N, 256, h, w)``."""
        weights = cast(nn.Conv2d, self.layers[0]).weight.flatten(1) @ query  # (N, 2048, 256)
        pixels = feature.flatten(2).transpose(1, 2)
        frames = [in_pieces(partial(self.of_pixels, w), x) for w, x in zip(weights, pixels, strict=True)]
        return torch.stack(frames).transpose(1, 2).unflatten(-1, feature.shape[2:])

    def of_pixels(self, weight: Tensor, pixels: Tensor) -> Tensor:
        """Pixels ``(P, 256)`` of one frame, whose first convolution and queries are ``weight (2048, 256)``."""
        first, second, third = cast(list[nn.Conv2d], list(self.layers))
        x = F.linear(pixels, weight, first.bias).relu_()
        x = F.linear(x, second.weight.flatten(1), second.bias).relu_()
        return F.linear(x, third.weight.flatten(1), third.bias)


class Head(nn.Module):
    """Maps ``F1..F4`` at strides 4..32 and audio ``(N, 1, 256)`` to logits ``(N, K, 4 h1, 4 w1)`` and mask feature.

    The stride-4 map only joins the mask feature; the other three are the encoder's levels.
    """

    def __init__(self, in_channels: tuple[int, ...], classes: int, form: Form = PUBLISHED) -> None:
        super().__init__()
        width = form.width
        self.in_proj = nn.ModuleList(projection(channels, width) for channels in in_channels)
        self.level_embed = nn.Parameter(torch.zeros(3, width))
        self.query_generator = QueryGenerator(form)
        self.learnable_query = nn.Embedding(form.queries, width)
        self.transformer = Transformer(form)
        self.lateral_conv = projection(width, width)
        self.out_conv = projection(width, width, kernel=3)
        self.fusion_block = AudioVisualMixer(width)
        self.mlp = PixelMlp(form)
        self.fc = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.Upsample(scale_factor=4, mode="bilinear"),
            nn.Conv2d(width // 2, width // 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 8, classes, 1, bias=False),
        )

    def forward(self, maps: list[Tensor], audio: Tensor) -> tuple[Tensor, Tensor]:
        fine, *levels = (project(x) for project, x in zip(self.in_proj, maps, strict=True))
        sizes = [(x.shape[2], x.shape[3]) for x in levels]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
        position = torch.cat(
            [
                sine_position(h, w, normalised=False, device=tokens.device, channels=tokens.shape[2]) + embed
                for (h, w), embed in zip(sizes, self.level_embed, strict=True)
            ]
        )
        query = self.query_generator(audio) + self.learnable_query.weight
        memory, query = self.transformer(tokens, position, sizes, query)

        height, width = sizes[0]
        stride8 = memory[:, : height * width].transpose(1, 2).unflatten(-1, (height, width))
        feature = self.lateral_conv(fine) + F.interpolate(stride8, fine.shape[2:], mode="bilinear")
        feature = self.fusion_block(F.relu(self.out_conv(feature)), audio)
        return self.fc(feature + self.mlp(query, feature)), feature
