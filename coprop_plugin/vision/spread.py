"""Evidence that a network has of parts, spread over what looks alike nearby: a local random walk on features."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

REACH_CELLS = 6
NEAR_CELLS = 5.0  # the standard deviation of what counts as near
SHARPNESS = 4  # power of the cosines
STAYS = 0.2  # of the evidence at each step
STEPS = 6


@torch.inference_mode()
def likeness(features: Tensor) -> Tensor:
    """``(n, h, w) float32``: how much each cell takes from its n neighbours, which sum to 1 (as :func:`spread` wants it).

    Cosines of the features around their mean, negative ones cut off, to a power, times a Gaussian of the distance.

    Args:
        features: ``(C, h, w)`` of a frame.
    """
    centred = F.normalize(features - features.mean(dim=(1, 2), keepdim=True), dim=0)
    height, width = features.shape[1:]
    side = 2 * REACH_CELLS + 1
    padded = F.pad(centred, (REACH_CELLS,) * 4)
    weights = features.new_zeros(side * side, height, width)
    for place, (down, right) in enumerate(product(range(side), range(side))):
        far = ((down - REACH_CELLS) ** 2 + (right - REACH_CELLS) ** 2) / (2 * NEAR_CELLS**2)
        shifted = padded[:, down : down + height, right : right + width]
        alike = torch.einsum("chw,chw->hw", centred, shifted).clamp_(min=0)
        weights[place] = alike**SHARPNESS * 2.718281828 ** (-far)
    return weights / weights.sum(dim=0)


@torch.inference_mode()
def spread(evidence: Tensor, weights: Tensor) -> Tensor:
    """``(h, w)``: a few steps of the walk, at each of which a share of the first evidence stays.

    Args:
        evidence: ``(h, w)``, not negative.
        weights: of :func:`likeness`.
    """
    side, now = 2 * REACH_CELLS + 1, evidence
    for _ in range(STEPS):
        around = F.unfold(now[None, None], side, padding=REACH_CELLS)[0].view(weights.shape)
        now = STAYS * evidence + (1 - STAYS) * (weights * around).sum(dim=0)
    return now
