"""A dilated convolution's view of time, laid out for a product of matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def taps(flow: Tensor, step: int) -> Tensor:
    """``(B, T, 3 C)``: each frame of ``(B, T, C)`` with those ``step`` before and after it; zeros beyond the ends."""
    padded = nn.functional.pad(flow, (0, 0, step, step))
    length = flow.shape[1]
    return torch.cat([padded[:, i * step : i * step + length] for i in range(3)], dim=-1)
