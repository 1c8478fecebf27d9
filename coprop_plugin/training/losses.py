"""The losses that AOT was trained with, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -1  # a pixel whose label is not known
HARDEST_SHARE = 0.15  # of the pixels, from half of the training on
_EPSILON = 1e-6


def mask_loss(logits: Tensor, labels: Tensor, *, progress: float) -> Tensor:
    """Half bootstrapped cross-entropy, half soft Jaccard: ``(B,)``, one value a frame.

    Args:
        logits: ``(B, C, H, W)``; channels that a frame does not use at about -1e10.
        labels: ``(B, H, W) int64``, the channels, or IGNORE.
        progress: share of the training that is over, in [0, 1].
    """
    kept = kept_share(progress)
    return 0.5 * bootstrapped_cross_entropy(logits, labels, kept=kept) + 0.5 * soft_jaccard(logits, labels)


def kept_share(progress: float) -> float:
    """The share of pixels that count: falls linearly from all to the hardest 15 % over the first half of training."""
    return 1 - (1 - HARDEST_SHARE) * min(1.0, 2 * progress)


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, *, kept: float) -> Tensor:
    """``(B,)``: the mean cross-entropy of the hardest share of each frame's known pixels; 0 where none is known."""
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORE).flatten(1)
    known = (labels != IGNORE).flatten(1)
    if kept >= 1:
        return losses.sum(dim=1) / known.sum(dim=1).clamp(min=1)
    counts = (known.sum(dim=1) * kept).round().long().clamp(min=1)
    hardest = losses.sort(dim=1, descending=True).values  # pixels that are not known cost 0 and stand last
    counted = torch.arange(hardest.shape[1], device=hardest.device) < counts[:, None]
    return (hardest * counted).sum(dim=1) / counts


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """``(B,)``: the mean of ``1 - |p g| / |p + g - p g|`` over the channels that a frame's labels show; else 0."""
    known = (labels != IGNORE)[:, None]
    probability = logits.softmax(dim=1) * known
    truth = F.one_hot(labels.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * known
    both = (probability * truth).sum(dim=(2, 3))
    either = (probability + truth).sum(dim=(2, 3)) - both
    shown = truth.sum(dim=(2, 3)) > 0
    return ((1 - both / (either + _EPSILON)) * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)
