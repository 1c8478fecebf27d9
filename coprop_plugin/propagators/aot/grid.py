"""What depends on the token grid alone: positions, and which keys a query's window holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

RADIUS = 7  # the local window reaches this many tokens to each side
WINDOW = 2 * RADIUS + 1


@dataclass(frozen=True)
class Grid:
    """``h x w`` tokens in row-major order, ``N = h * w``.

    Attributes:
        position: ``(N, 256)``, added to queries and keys of the self attention.
        window_keys: ``(N, 225) int64``, the token at each place of a query's 15x15 window (clipped to the grid).
        window_mask: ``(N, 225)``, 0 where that place lies inside the grid, else minus infinity.
    """

    height: int
    width: int
    position: Tensor
    window_keys: Tensor
    window_mask: Tensor

    @classmethod
    def of(cls, height: int, width: int, device: torch.device | str = "cpu") -> Grid:
        return _grid(height, width, str(device))

    def as_map(self, tokens: Tensor) -> Tensor:
        """``(B, N, C)`` tokens as a ``(B, C, h, w)`` map, without a copy."""
        return tokens.unflatten(1, (self.height, self.width)).permute(0, 3, 1, 2)

    @staticmethod
    def as_tokens(maps: Tensor) -> Tensor:
        """``(B, C, h, w)`` map as ``(B, N, C)`` tokens; no copy if its memory is channels-last."""
        return maps.permute(0, 2, 3, 1).flatten(1, 2)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # also training reads what is kept here
def _grid(height: int, width: int, device: str) -> Grid:
    keys, mask = windows(height, width)
    return Grid(height, width, sine_position(height, width).to(device), keys.to(device), mask.to(device))


def sine_position(height: int, width: int, *, channels: int = 256) -> Tensor:
    """``(h * w, channels)``: sines and cosines of y (first half) and x, each axis scaled to one turn."""

    def axis(length: int) -> Tensor:
        turn = 2 * math.pi * torch.arange(length, dtype=torch.float64) / (length - 1 + 1e-6)
        frequency = 10000 ** (torch.arange(channels // 4, dtype=torch.float64) * 4 / channels)
        angle = turn[:, None] / frequency
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)

    y = axis(height)[:, None].expand(height, width, -1)
    x = axis(width)[None, :].expand(height, width, -1)
    return torch.cat([y, x], dim=-1).flatten(0, 1).float()


def windows(height: int, width: int) -> tuple[Tensor, Tensor]:
    """``window_keys`` and ``window_mask`` of :class:`Grid`."""
    reach = torch.arange(-RADIUS, RADIUS + 1)
    y = (torch.arange(height)[:, None] + reach)[:, None, :, None]
    x = (torch.arange(width)[:, None] + reach)[None, :, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    keys = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    mask = torch.zeros(inside.shape).masked_fill(~inside, -torch.inf)
    return keys.reshape(-1, WINDOW**2), mask.reshape(-1, WINDOW**2)
