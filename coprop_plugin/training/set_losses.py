"""Mask2Former's losses: queries are matched to a frame's masks, then masks and classes are compared.

Cheng et al., "Masked-attention Mask Transformer" (2022), with its weights; SSP's additional mask loss on what moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..layers.mask2former import Output

WEIGHTS = {"mask": 5.0, "dice": 5.0, "class": 2.0}
NO_OBJECT = 0.1  # weight of the class "no object"
OVERSAMPLED, UNCERTAIN = 3, 0.75  # points drawn for each that is kept, share of them that is uncertain


@dataclass(frozen=True)
class Targets:
    """The masks of n frames, each a class that is there (the background is one).

    Attributes:
        classes: ``(n, G) int64``; where a frame has fewer than G, -1.
        masks: ``(n, G, H, W) float32`` in {0, 1}.
        moving: ``(n, H, W) float32`` in {0, 1}, the flow mask of SSP's post-mask; ``None``: no such loss.
    """

    classes: Tensor
    masks: Tensor
    moving: Tensor | None = None

    @classmethod
    def of(cls, labels: Tensor, moving: Tensor | None = None) -> Targets:
        """From label maps ``(n, H, W) int64`` of class numbers."""
        present = [torch.unique(one) for one in labels]
        classes = torch.full((len(labels), max(len(one) for one in present)), -1, device=labels.device)
        for row, one in zip(classes, present, strict=True):
            row[: len(one)] = one
        return cls(classes, (labels[:, None] == classes[:, :, None, None]).float(), moving)


def set_losses(
    outputs: Sequence[Output], targets: Targets, *, points: int = 12544, post_weight: float = 0.0
) -> dict[str, Tensor]:
    """The mean of all losses over frames, summed over the decoder's layers; ``loss`` is their weighted sum.

    Args:
        outputs: after each layer.
        targets: of the same frames.
        points: places of a mask that are compared, drawn anew each time; 0 compares all pixels of the mask logits.
        post_weight: of SSP's additional loss (its lambda', 10); it is reported under ``post``.
    """
    total: dict[str, Tensor] = {}
    for output in outputs:
        for name, value in _losses_of(output, targets, points).items():
            total[name] = total[name] + value if name in total else value
    weights = WEIGHTS | {"post": post_weight}
    loss = torch.stack([weights[name] * value for name, value in total.items()]).sum()
    return {"loss": loss, **{name: value.detach() for name, value in total.items()}}


def _losses_of(output: Output, targets: Targets, points: int) -> dict[str, Tensor]:
    frames, queries, wanted = matched(output, targets, points)
    logits, masks = output.masks[frames, queries], targets.masks[frames, wanted]
    where = None if points == 0 else uncertain_points(logits, points)
    said, true = sampled(logits[:, None], where)[:, 0], sampled(masks[:, None], where, like=logits)[:, 0]
    per_mask = F.binary_cross_entropy_with_logits(said, true, reduction="none").mean(dim=1)
    chance = said.sigmoid()
    dice = 1 - (2 * (chance * true).sum(dim=1) + 1) / (chance.sum(dim=1) + true.sum(dim=1) + 1)
    losses = {
        "mask": per_mask.mean(),
        "dice": dice.mean(),
        "class": _class_loss(output, targets, frames, queries, wanted),
    }
    if targets.moving is not None:
        foreground = targets.classes[frames, wanted] != 0
        losses["post"] = post_loss(logits[foreground], masks[foreground], targets.moving[frames[foreground]], points)
    return losses


def post_loss(logits: Tensor, masks: Tensor, moving: Tensor, points: int) -> Tensor:
    """SSP's ``L'_mask``: matched masks ``(m, h, w)`` against what sounds and moves.

    Masks of which nothing moves do not count: otherwise whatever stands still and sounds were pushed to nothing.
    """
    target = masks * moving
    some = target.flatten(1).any(dim=1)
    if not some.any():
        return logits.sum() * 0
    logits, target = logits[some], target[some]
    where = None if points == 0 else uncertain_points(logits, points)
    said, true = sampled(logits[:, None], where)[:, 0], sampled(target[:, None], where, like=logits)[:, 0]
    return F.binary_cross_entropy_with_logits(said, true)


def _class_loss(output: Output, targets: Targets, frames: Tensor, queries: Tensor, wanted: Tensor) -> Tensor:
    none = output.classes.shape[-1] - 1
    labels = torch.full(output.classes.shape[:2], none, device=output.classes.device)
    labels[frames, queries] = targets.classes[frames, wanted]
    weights = torch.ones(none + 1, device=labels.device)
    weights[none] = NO_OBJECT
    return F.cross_entropy(output.classes.flatten(0, 1), labels.flatten(), weights)


@torch.no_grad()
def matched(output: Output, targets: Targets, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frame, query and mask of each pair: the cheapest assignment of queries to a frame's masks (Hungarian)."""
    n = len(targets.classes)
    where = None if points == 0 else torch.rand(n, points, 2, device=output.masks.device)
    said, true = sampled(output.masks, where), sampled(targets.masks, where, like=output.masks)
    count = said.shape[-1]
    yes, no = (F.softplus(-said) @ true.mT) / count, (F.softplus(said) @ (1 - true).mT) / count
    chance = said.sigmoid()
    dice = 1 - (2 * chance @ true.mT + 1) / (chance.sum(-1)[..., None] + true.sum(-1)[:, None] + 1)
    classes = output.classes.softmax(-1).gather(2, targets.classes.clamp(min=0)[:, None].expand(-1, said.shape[1], -1))
    cost = WEIGHTS["mask"] * (yes + no) + WEIGHTS["dice"] * dice - WEIGHTS["class"] * classes
    pairs = []
    for t, (one, given) in enumerate(zip(cost.cpu().numpy(), targets.classes.cpu().numpy() >= 0, strict=True)):
        rows, columns = linear_sum_assignment(np.nan_to_num(one[:, given]))
        pairs.append(np.stack([np.full(len(rows), t), rows, columns]))
    frames, queries, wanted = torch.from_numpy(np.concatenate(pairs, axis=1)).to(output.masks.device)
    return frames, queries, wanted


@torch.no_grad()
def uncertain_points(logits: Tensor, points: int) -> Tensor:
    """``(m, points, 2)`` places in [0, 1]: of three times as many the ones whose logits are nearest 0, and a quarter anywhere."""
    drawn = torch.rand(len(logits), OVERSAMPLED * points, 2, device=logits.device)
    doubt = -sampled(logits[:, None], drawn)[:, 0].abs()
    kept = doubt.topk(int(UNCERTAIN * points), dim=1).indices
    rest = torch.rand(len(logits), points - kept.shape[1], 2, device=logits.device)
    return torch.cat([drawn.gather(1, kept[..., None].expand(-1, -1, 2)), rest], dim=1)


def sampled(maps: Tensor, where: Tensor | None, *, like: Tensor | None = None) -> Tensor:
    """``(n, C, P)``: maps ``(n, C, H, W)`` at places ``(n, P, 2)`` in [0, 1], or all pixels at the size of ``like``."""
    if where is not None:
        return F.grid_sample(maps, 2 * where[:, None] - 1, align_corners=False)[:, :, 0]
    if like is not None and like.shape[-2:] != maps.shape[-2:]:
        maps = F.interpolate(maps, like.shape[-2:], mode="area")
    return maps.flatten(2)
