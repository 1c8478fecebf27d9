"""More than ten objects: identity groups that share the weights, and the published way to merge what they say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .config import MAX_OBJECTS

UNUSED_LOGIT = -1e10


def num_groups(num_objects: int) -> int:
    """Groups of ten identities that this many objects take."""
    return max(1, -(-num_objects // MAX_OBJECTS))


def objects_of_group(num_objects: int, group: int) -> int:
    """How many of the objects stand in a group."""
    return min(MAX_OBJECTS, num_objects - MAX_OBJECTS * group)


def split_labels(labels: Tensor, num_objects: int) -> Tensor:
    """``(H, W)`` labels of K objects as ``(groups, H, W)``: each group sees its own objects as 1..10, others as 0.

    One group sees the labels as they are (255 stays "no label").
    """
    groups = num_groups(num_objects)
    if groups == 1:
        return labels[None]
    offset = MAX_OBJECTS * torch.arange(groups, device=labels.device)[:, None, None]
    own = labels[None] - offset
    return torch.where((own > 0) & (own <= MAX_OBJECTS), own, 0)


def mask_unused(logits: Tensor, num_objects: Sequence[int]) -> Tensor:
    """``(B, 11, h, w)`` logits with the channels of identities that a row does not use at -1e10."""
    used = torch.tensor(num_objects, device=logits.device)[:, None]
    unused = torch.arange(logits.shape[1], device=logits.device) > used
    return logits.masked_fill(unused[:, :, None, None], UNUSED_LOGIT)


def merge_groups(logits: Tensor) -> Tensor:
    """Soft aggregation: ``(groups, 11, H, W)`` logits of one sequence as ``(10 * groups + 1, H, W)`` logits.

    The background is where every group sees background; one group's logits stay as they are.
    """
    if len(logits) == 1:
        return logits[0]
    probability = logits.softmax(dim=1)
    background = probability[:, :1].prod(dim=0)
    merged = torch.cat([background, probability[:, 1:].flatten(0, 1)]).clamp(1e-5, 1 - 1e-5)
    return torch.log(merged / (1 - merged))
