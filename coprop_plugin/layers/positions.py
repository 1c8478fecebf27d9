"""Sine codes of a map's rows and columns (Carion et al., "DETR", 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, *, normalised: bool, device: torch.device, channels: int = 256) -> Tensor:
    """``(height * width, channels) float32``: the row's code, then the column's; sine and cosine alternate.

    Rows and columns count from 1. ``normalised`` maps them to (0, 2 pi] (CATR, Mask2Former); AVSegFormer does not.
    """
    half = channels // 2
    channel = torch.arange(half, device=device)
    period = 10000 ** (2 * (channel // 2) / half)

    def code(count: int) -> Tensor:
        place = torch.arange(1, count + 1, device=device).float()
        if normalised:
            place = place / (count + 1e-6) * 2 * math.pi
        angle = place[:, None] / period
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

    rows = code(height)[:, None].expand(-1, width, -1)
    columns = code(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
