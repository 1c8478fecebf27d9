"""Temporal pixel-wise audio-visual interaction (TPAVI), in its linear-cost form."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 256
HEARD = 128  # numbers of a VGGish row


def pointwise(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """A 1x1x1 convolution as a linear map over the last axis of ``x (..., C)``."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class Tpavi(nn.Module):
    """Every pixel of a group of T frames looks at the sound of all T frames; no softmax.

    Published: ``(theta phi^T / M) g`` over the ``M = T h w`` pixels of a group. All pixels of a frame share one key
    phi (it comes from the sound), so this is ``theta`` times a 128 x 128 matrix, ``mean_t phi_t mean_pixels(g_t)^T``:
    the M x M matrix (1 GB at stride 4 of 224 px) is never made. g is affine, so its mean is g of the mean.

    Args:
        audio_bias: the projection of the sound has a bias (S4 and MS3 models) or not (AVSS models).
        width: channels of the maps, 256 as published.
        audio_dim: numbers of a row of sound.
    """

    def __init__(self, *, audio_bias: bool, width: int = CHANNELS, audio_dim: int = HEARD) -> None:
        super().__init__()
        inner = width // 2
        self.align_channel = nn.Linear(audio_dim, width, bias=audio_bias)
        self.norm_layer = nn.LayerNorm(width)
        self.g = nn.Conv3d(width, inner, 1)
        self.theta = nn.Conv3d(width, inner, 1)
        self.phi = nn.Conv3d(width, inner, 1)
        self.W_z = nn.Sequential(nn.Conv3d(inner, width, 1), nn.BatchNorm3d(width))

    def forward(self, x: Tensor, audio: Tensor, group_frames: int) -> Tensor:
        """``x (N, 256, h, w)`` and VGGish rows ``audio (N, 128)`` to ``(N, 256, h, w)``; N is whole groups."""
        n, width, h, w = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, group_frames, h * w, width)
        keys = pointwise(self.phi, self.align_channel(audio)).view(-1, group_frames, width // 2)
        values = pointwise(self.g, pixels.mean(2))
        mixing = keys.transpose(1, 2) @ values / group_frames  # (groups, 128, 128)
        seen = pointwise(self.theta, pixels).flatten(1, 2) @ mixing
        seen = self.W_z(seen.transpose(1, 2)[..., None, None]).flatten(2).transpose(1, 2)
        return self.norm_layer(seen.view_as(pixels) + pixels).view(n, h, w, width).permute(0, 3, 1, 2)
