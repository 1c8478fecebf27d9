"""The losses that AOT was trained with, and those of the keyframe processor, as pure functions."""

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


def keyframe_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of pixels and dice loss, each the mean over frames (the paper names no losses; CATR's are these two).

    Args:
        logits: ``(B, C, H, W)``; one channel is the foreground's (binary cross-entropy), several are a softmax's.
        labels: ``(B, H, W) int64``, 0 or 1, or the channels; or IGNORE.
    """
    known = labels != IGNORE
    if logits.shape[1] == 1:
        wanted = (labels > 0).to(logits.dtype)[:, None]
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")[:, 0]
        probability = logits.sigmoid()
    else:
        losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORE)
        probability = logits.softmax(dim=1)[:, 1:]
        classes = torch.arange(1, logits.shape[1], device=labels.device)
        wanted = (labels[:, None] == classes[:, None, None]).to(logits.dtype)
    counts = known.sum(dim=(1, 2)).clamp(min=1)
    entropy = ((losses * known).sum(dim=(1, 2)) / counts).mean()
    return entropy, dice_loss(probability * known[:, None], wanted * known[:, None]).mean()


def dice_loss(probability: Tensor, wanted: Tensor) -> Tensor:
    """``(B,)``: ``1 - (2 p g + 1) / (p + g + 1)``, the mean over the channels that are wanted, or expected, at all.

    Where nothing is wanted the loss falls to 0 as nothing is expected.

    Args:
        probability, wanted: ``(B, C, H, W)`` in [0, 1].
    """
    expected, there = probability.sum(dim=(2, 3)), wanted.sum(dim=(2, 3))
    losses = 1 - (2 * (probability * wanted).sum(dim=(2, 3)) + 1) / (expected + there + 1)
    counted = ((there > 0) | (expected.detach() > 1)).to(losses.dtype)
    return (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
