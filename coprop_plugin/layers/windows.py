"""Attention inside the windows of a map, as Swin transformers have it (Liu et al., 2021); no weights of its own.

Windows keep their size whatever the map's: maps are padded to whole windows. Maps are ``(N, h, w, C)``, windows
``(N * windows, L, C)`` with L = window * window.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import merge_heads, split_heads


def in_windows(
    x: Tensor, mix: Callable[[Tensor, Tensor | None], Tensor], *, window: int, shifted: bool = False
) -> Tensor:
    """``(N, h, w, C)`` with ``mix`` applied inside its windows.

    Args:
        x: the map.
        mix: from ``(N * windows, L, C)`` and the pairs that a shift keeps apart (:func:`blocked_pairs`, ``None`` without
            a shift) to windows of the same shape.
        window: the side of a window in cells.
        shifted: roll the map by half a window first, and back afterwards.
    """
    _, height, width, _ = x.shape
    padded = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    size, blocked, shift = (padded.shape[1], padded.shape[2]), None, window // 2
    if shifted:
        padded = padded.roll((-shift, -shift), (1, 2))
        blocked = blocked_pairs(size[0] // window, size[1] // window, window=window).to(x)
    mixed = join_windows(mix(split_windows(padded, window), blocked), size, window)
    if shifted:
        mixed = mixed.roll((shift, shift), (1, 2))
    return mixed[:, :height, :width]


def attend_in_windows(
    q: Tensor, k: Tensor, v: Tensor, *, heads: int, bias_table: Tensor, blocked: Tensor | None
) -> Tensor:
    """Multi-head attention of ``(N * windows, L, C)`` windows, each pair biased by how far apart it is.

    Args:
        q, k, v: the projected windows.
        heads: how many.
        bias_table: ``((2 window - 1)^2, heads)``, one learned bias for every relative place.
        blocked: what :func:`in_windows` hands over.
    """
    window = int(q.shape[1] ** 0.5)
    places = relative_places(window).to(q.device)
    bias = bias_table[places].permute(2, 0, 1)[None].to(q.dtype)
    if blocked is not None:
        bias = (bias + blocked).repeat(len(q) // len(blocked), 1, 1, 1)
    q, k, v = (split_heads(tokens, heads) for tokens in (q, k, v))
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias))


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the channels, ``(N, h, w, C)``; odd maps are padded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


def split_windows(x: Tensor, window: int) -> Tensor:
    """``(N, h, w, C)`` as ``(N * windows, L, C)``."""
    n, h, w, c = x.shape
    return x.view(n, h // window, window, w // window, window, c).transpose(2, 3).reshape(-1, window**2, c)


def join_windows(windows: Tensor, size: tuple[int, int], window: int) -> Tensor:
    """The inverse of :func:`split_windows` for a map of this size."""
    h, w = size
    x = windows.view(-1, h // window, w // window, window, window, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, h, w, windows.shape[-1])


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # training reads what is kept here, too
def relative_places(window: int) -> Tensor:
    """``(L, L)`` rows of the bias table: how far two places of a window are apart."""
    side = torch.arange(window, device="cpu")
    place = torch.stack(torch.meshgrid(side, side, indexing="ij")).flatten(1)
    down, right = place[:, :, None] - place[:, None, :] + window - 1
    return down * (2 * window - 1) + right


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def blocked_pairs(rows: int, columns: int, *, window: int) -> Tensor:
    """``(rows * columns, 1, L, L)``: -100 for pairs that a shift brought together from opposite borders, else 0."""

    def region(windows: int) -> Tensor:
        place = torch.arange(windows * window, device="cpu")
        return (place >= len(place) - window).int() + (place >= len(place) - window // 2).int()

    regions = 3 * region(rows)[:, None] + region(columns)[None, :]
    tokens = split_windows(regions[None, :, :, None], window)[..., 0]
    return torch.where(tokens[:, None, :] == tokens[:, :, None], 0.0, -100.0)[:, None]
