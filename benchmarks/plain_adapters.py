"""The published computation of the base models, written plainly: what ``adapters.py`` measures ours against.

Inside ``plainly()`` the networks compute what the published code computes, step by step: attention with its matrix of
weights, TPAVI with its M x M product, deformable attention with all samples stacked, convolutions of contiguous maps,
feed-forward parts of all rows at once.
The weights are the same objects, so both sides must give the same numbers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.adapters.avsegformer.head import PixelMlp
from coprop_plugin.adapters.tpavi.attention import Tpavi
from coprop_plugin.layers import pieces
from coprop_plugin.layers.deformable import DeformableAttention, Sizes
from coprop_plugin.layers.pvt_v2 import DepthwiseConv


@contextmanager
def plainly() -> Iterator[None]:
    """The published computation in place of ours."""
    with (
        mock.patch.object(F, "scaled_dot_product_attention", attention),
        mock.patch.object(DeformableAttention, "forward", deformable_attention),
        mock.patch.object(DepthwiseConv, "forward", depthwise_conv),
        mock.patch.object(PixelMlp, "forward", pixel_mlp),
        mock.patch.object(Tpavi, "forward", tpavi),
        mock.patch.object(pieces, "ROWS", sys.maxsize),
    ):
        yield


def attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False
) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` with the whole matrix of weights."""
    assert not dropout_p and not is_causal
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1) @ v


def depthwise_conv(self: DepthwiseConv, x: Tensor) -> Tensor:
    n, h, w, c = x.shape
    maps = x.reshape(n, h * w, c).transpose(1, 2).reshape(n, c, h, w).contiguous()
    return self.dwconv(maps).flatten(2).transpose(1, 2).reshape(n, h, w, c)


def deformable_attention(self: DeformableAttention, y: Tensor, x: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
    """Deformable DETR's PyTorch form: every level is sampled, all samples are stacked, then weighed."""
    n, s, c = x.shape
    heads, levels, points = self.heads, self.levels, self.points
    values = self.value_proj(x).view(n, s, heads, c // heads)
    offsets = self.sampling_offsets(y).view(n, s, heads, levels, points, 2)
    weights = self.attention_weights(y).view(n, s, heads, levels * points).softmax(-1)
    shapes = torch.tensor([[w, h] for h, w in sizes], dtype=offsets.dtype, device=x.device)
    places = centres[None, :, None, None, None, :] + offsets / shapes[None, None, None, :, None, :]
    grids, samples = 2 * places - 1, []
    for level, ((h, w), value) in enumerate(zip(sizes, values.split([h * w for h, w in sizes], dim=1), strict=True)):
        maps = value.flatten(2).transpose(1, 2).reshape(n * heads, c // heads, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    weights = weights.transpose(1, 2).reshape(n * heads, 1, s, levels * points)
    mixed = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1).view(n, c, s)
    return self.project(mixed.transpose(1, 2).contiguous())


def pixel_mlp(self: PixelMlp, query: Tensor, feature: Tensor) -> Tensor:
    first, second, third = self.layers
    similarity = torch.einsum("nqc,nchw->nqhw", query, feature)
    return third(F.relu(second(F.relu(first(similarity)))))


def tpavi(self: Tpavi, x: Tensor, audio: Tensor, group_frames: int) -> Tensor:
    """``(theta phi^T / M) g`` over the M pixels of every group, the M x M matrix included."""
    n, c, h, w = x.shape
    pixels = x.unflatten(0, (-1, group_frames)).transpose(1, 2)
    heard = self.align_channel(audio).view(-1, group_frames, c, 1, 1).transpose(1, 2).expand_as(pixels)
    theta = self.theta(pixels).flatten(2).transpose(1, 2)
    phi, g = self.phi(heard).flatten(2), self.g(pixels).flatten(2).transpose(1, 2)
    scores = theta @ phi
    seen = (scores / scores.shape[-1]) @ g
    z = self.W_z(seen.transpose(1, 2).reshape(len(pixels), -1, group_frames, h, w)) + pixels
    z = self.norm_layer(z.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
    return z.transpose(1, 2).reshape(n, c, h, w)
