"""Feed-forward parts row by row, so that what lies between two layers stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 512  # with 2048 hidden channels 4 MB; measured: 256 to 1024 are alike, all rows at once is a third slower


def in_pieces(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` for one that maps the rows of ``x (..., C)`` independently; on the CPU some rows at a time.

    A GPU gets all rows at once: there the launches would cost more than the memory.
    """
    rows = x.flatten(0, -2)
    if x.device.type != "cpu" or len(rows) <= ROWS:
        return function(x)
    return torch.cat([function(piece) for piece in rows.split(ROWS)]).unflatten(0, x.shape[:-1])
