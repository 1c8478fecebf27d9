"""Multi-scale deformable attention without a compiled extension: bilinear reads through ``grid_sample``.

Zhu et al., "Deformable DETR" (2021), equation 3. Every token looks at a few learned points on every level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sizes = Sequence[tuple[int, int]]


def token_centres(sizes: Sizes, *, device: torch.device) -> Tensor:
    """``(S, 2) float32``: the (x, y) centre of every token of all levels, in [0, 1] of its own map, row-major."""
    centres = []
    for height, width in sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        centres.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1))
    return torch.cat(centres)


class DeformableAttention(nn.Module):
    """``y (N, S, C)`` says where to look and how much to weigh, ``x (N, S, C)`` is read; the result is ``(N, S, C)``.

    Args:
        channels: C, split contiguously into ``heads``.
        heads, levels, points: each head reads ``points`` places on each of ``levels`` maps.
    """

    def __init__(self, channels: int = 256, *, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def forward(self, y: Tensor, x: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
        n, s, c = x.shape
        heads, levels, points = self.heads, self.levels, self.points
        values = self.value_proj(x).view(n, s, heads, c // heads).permute(0, 2, 3, 1).flatten(0, 1).contiguous()
        offsets = self.sampling_offsets(y).view(n, s, heads, levels, points, 2)
        offsets = offsets.permute(0, 2, 3, 4, 1, 5).flatten(0, 1).float()
        weights = self.attention_weights(y).view(n, s, heads, levels * points)
        weights = weights.permute(0, 2, 3, 1).softmax(2).view(n * heads, 1, levels, points, s)
        # On the CPU one head at a time, whose samples stay in the cache.
        step = 1 if x.device.type == "cpu" else n * heads
        pieces = zip(values.split(step), offsets.split(step), weights.split(step), strict=True)
        mixed = torch.cat([mix(*piece, sizes, centres) for piece in pieces])
        return self.project(mixed.view(n, c, s).transpose(1, 2))

    def project(self, heads: Tensor) -> Tensor:
        """What follows the concatenated heads ``(N, S, C)``."""
        return self.output_proj(heads)


def mix(values: Tensor, offsets: Tensor, weights: Tensor, sizes: Sizes, centres: Tensor) -> Tensor:
    """The weighted sum of what heads read, ``(heads, c, S) float32``.

    Args:
        values: ``(heads, c, S)``, the maps of all levels one after the other.
        offsets: ``(heads, levels, points, S, 2)``, (x, y) in pixels of the level that is read.
        weights: ``(heads, 1, levels, points, S)``.
    """
    total: Tensor | None = None
    maps = values.split([height * width for height, width in sizes], dim=-1)
    for level, ((height, width), value) in enumerate(zip(sizes, maps, strict=True)):
        # grid_sample wants [-1, 1] over the level's map
        scale = torch.tensor([2 / width, 2 / height], device=values.device)
        grid = (2 * centres - 1) + offsets[:, level] * scale
        samples = F.grid_sample(value.unflatten(-1, (height, width)).float(), grid, align_corners=False)
        read = samples.mul_(weights[:, :, level]).sum(2)
        total = read if total is None else total.add_(read)
    assert total is not None
    return total
