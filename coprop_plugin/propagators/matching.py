"""Labels carried from frames to a frame by the similarity of features; pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Cells, quarters_of

GUIDE_NOISE = 1e-3  # of a picture in [0, 1]: structure fainter than this is no edge to the guided filter


class Key(NamedTuple):
    """A frame that labels are taken from: its features, and ``(n, 4, K+1)`` labels of the quarters of its cells."""

    cells: Cells
    labels: Tensor


def labels_of(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(K+1, H, W)`` probabilities as ``(n, 4, K+1)`` of the quarters of cells, each the mean over its area."""
    size = (2 * grid[0], 2 * grid[1])
    return quarters_of(F.interpolate(mask[None], size=size, mode="area")[0])


@torch.inference_mode()
def best_matches(
    query: Cells,
    anchor: Key,
    recent: Sequence[Key],
    *,
    radius_cells: int,
    candidates: int,
    top_k: int,
    temperature: float,
) -> Tensor:
    """``(n, 4, K+1)`` labels of a frame, from coarse to fine.

    The ``candidates`` cells that a cell looks most like are found first; then the softmax over the ``top_k`` most
    similar of their quarters votes for each of its own.

    Args:
        query: the frame.
        anchor: may be matched anywhere.
        recent: frames of the same grid, matched within ``radius_cells`` in each direction only.
        radius_cells, candidates, top_k, temperature: see :class:`coprop_plugin.propagators.match.Match`.
    """
    keys = [anchor, *recent]
    cosines = torch.cat([query.deep @ key.cells.deep.T for key in keys], dim=1)
    count = len(query.deep)
    if recent:
        far = too_far(query.grid, radius_cells, query.deep.device)
        cosines[:, count:].view(count, len(recent), count).masked_fill_(far[:, None], -2.0)
    # No more than the anchor has: all of them are within reach then.
    chosen = cosines.topk(min(candidates, count), dim=1, sorted=False).indices
    features = torch.cat([key.cells.fine for key in keys])[chosen].flatten(1, 2)  # (n, 4 * candidates, C')
    labels = torch.cat([key.labels for key in keys])[chosen].flatten(1, 2)
    similar = query.fine @ features.transpose(1, 2)  # (n, 4, 4 * candidates)
    best, place = similar.topk(min(top_k, similar.shape[2]), dim=2, sorted=False)
    votes = torch.zeros_like(similar).scatter_(2, place, torch.softmax(best / temperature, dim=2))
    return votes @ labels


def too_far(grid: tuple[int, int], radius_cells: int, device: torch.device) -> Tensor:
    """``(n, n) bool``: pairs of cells further apart than the radius, along either axis."""
    down, right = (
        (cells[:, None] - cells).abs() > radius_cells for cells in (torch.arange(side, device=device) for side in grid)
    )
    return (down[:, None, :, None] | right[None, :, None, :]).flatten(2).flatten(0, 1)


@torch.inference_mode()
def looked_up(query: Tensor, key: Tensor, labels: Tensor, *, top_k: int, temperature: float) -> Tensor:
    """``(K, h, w)`` values of a frame: the softmax over each place's ``top_k`` most similar places of another one votes.

    Args:
        query, key: ``(C, h, w)`` unit features of the frame and of the other one.
        labels: ``(K, h, w)`` values of the other one.
    """
    similar = query.flatten(1).T @ key.flatten(1)
    similar, place = similar.topk(min(top_k, similar.shape[1]), dim=1, sorted=False)
    weights = torch.softmax(similar / temperature, dim=1)
    return (labels.flatten(1)[:, place] * weights).sum(dim=2).unflatten(1, query.shape[1:])


def edge_refined(labels: Tensor, frame: np.ndarray, *, size: Sequence[int], radius_px: int) -> np.ndarray:
    """``(K+1, H, W) float32`` probabilities from labels of cells, drawn to the edges of the picture.

    A guided filter (He et al., 2010): inside a small window the mask is taken for a linear function of brightness.

    Args:
        labels: ``(K+1, h, w)``.
        frame: ``(H', W', 3) uint8``, the guide.
        size: ``(H, W)``.
        radius_px: of the window, at eight times the cells' size; 0 resizes only.
    """
    height, width = labels.shape[1] * 8, labels.shape[2] * 8
    masks = F.interpolate(labels[None].float().cpu(), size=(height, width), mode="bilinear", align_corners=False)[
        0
    ].numpy()
    if radius_px:
        guide = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        guide = cv2.resize(guide, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        masks = _guided(masks, guide, 2 * radius_px + 1).clip(0, 1)
    if (height, width) != tuple(size):
        masks = np.stack([cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for mask in masks])
    return masks / np.maximum(masks.sum(axis=0), 1e-6)


def _guided(masks: np.ndarray, guide: np.ndarray, side_px: int) -> np.ndarray:
    """``(K+1, H, W)`` masks, each filtered along the ``(H, W)`` guide."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (side_px, side_px), borderType=cv2.BORDER_REFLECT)

    mean_guide = mean(guide)
    variance = mean(guide * guide) - mean_guide**2 + GUIDE_NOISE

    def filtered(mask: np.ndarray) -> np.ndarray:
        mean_mask = mean(mask)
        slope = (mean(guide * mask) - mean_guide * mean_mask) / variance
        return np.asarray(mean(slope) * guide + mean(mean_mask - slope * mean_guide))

    return np.stack([filtered(mask) for mask in masks])
