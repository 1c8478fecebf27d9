"""SSP's pre-mask and post-mask: what moves and what sounds, laid over the image and over the loss."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

TestMode = Literal["flow", "floor", "off"]


def pre_mask(moving: Tensor, sounding: Tensor | None = None) -> Tensor:
    """``M_Pre`` (Eq. 2): 1 where both masks are foreground, 0.5 where exactly one is, 0 elsewhere.

    Args:
        moving: ``(N, H, W)`` in {0, 1}, the flow mask ``M_O``.
        sounding: ``(N, H, W)`` in {0, 1}: in training the truth, in stage 2 the masks of stage 1; where nothing is known
            (stage 1 on a video without truth) the flow mask stands alone.
    """
    return moving if sounding is None else (moving + sounding) / 2


def floored(mask: Tensor) -> Tensor:
    """A pre-mask that blacks nothing out: from 0.5 where it says nothing to 1."""
    return 0.5 + mask / 2


def post_mask(moving: Tensor, sounding: Tensor) -> Tensor:
    """``M_Post``: moving and sounding, what the additional loss asks for."""
    return moving * sounding
