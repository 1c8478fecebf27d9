"""Labels carried from frames to a frame by the similarity of features; pure functions on tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TILE_CELLS = 8
GUIDE_NOISE = 1e-3  # of a picture in [0, 1]: structure fainter than this is no edge to the guided filter


class Key(Protocol):
    """A frame that labels are taken from: features ``(C, h, w)`` of unit length, labels ``(K+1, h, w)``."""

    @property
    def features(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...


def at_cells(mask: Tensor, size: Sequence[int]) -> Tensor:
    """``(K+1, H, W)`` probabilities as ``(K+1, h, w)`` of the cells, each the mean over its area."""
    return F.interpolate(mask[None], size=tuple(size), mode="area")[0]


@torch.inference_mode()
def best_matches(
    query: Tensor, anchor: Key, recent: Sequence[Key], *, radius_cells: int, top_k: int, temperature: float
) -> Tensor:
    """``(K+1, h, w)`` labels of a frame: the softmax over each cell's ``top_k`` most similar cells votes.

    Args:
        query: ``(C, h, w)`` features of the frame.
        anchor: may be matched anywhere.
        recent: frames of the same size, matched within ``radius_cells`` in each direction only.
        radius_cells, top_k, temperature: see :class:`coprop_plugin.propagators.match.Match`.
    """
    size = query.shape[1:]
    similar, place = _best(query.flatten(1).T @ anchor.features.flatten(1), top_k)
    labels = anchor.labels.flatten(1).to(query)[:, place]  # (K+1, hw, k)
    if recent:
        near, votes = near_matches(query, recent, radius_cells=radius_cells, top_k=top_k)
        similar, chosen = _best(torch.cat([similar, near], dim=1), top_k)
        labels = torch.cat([labels, votes], dim=2).gather(2, chosen.expand(len(labels), -1, -1))
    weights = torch.softmax(similar / temperature, dim=1)
    return (labels * weights).sum(dim=2).unflatten(1, size)


def near_matches(query: Tensor, recent: Sequence[Key], *, radius_cells: int, top_k: int) -> tuple[Tensor, Tensor]:
    """``(hw, k)`` cosines of each cell's best matches within the radius, and ``(K+1, hw, k)`` their labels.

    Squares of cells are compared with the cells that any of them can reach, a third of the work of comparing all.
    """
    height, width = query.shape[1:]
    features = torch.stack([key.features for key in recent], dim=1)  # (C, n, h, w)
    labels = torch.stack([key.labels.to(query) for key in recent], dim=1)
    far_down, far_right = too_far(height, radius_cells, query.device), too_far(width, radius_cells, query.device)
    count = min(top_k, len(recent) * min(height, radius_cells + 1) * min(width, radius_cells + 1))
    similar, votes = query.new_empty(height, width, count), query.new_empty(len(labels), height, width, count)
    for rows, from_rows in _reach(height, radius_cells):
        for columns, from_columns in _reach(width, radius_cells):
            window = features[:, :, from_rows, from_columns]
            own = query[:, rows, columns]
            cosines = (own.flatten(1).T @ window.flatten(1)).view(*own.shape[1:], *window.shape[1:])
            far = far_down[rows, None, from_rows, None] | far_right[None, columns, None, from_columns]
            cosines.masked_fill_(far[:, :, None], -2.0)
            best, place = cosines.flatten(2).topk(count, dim=2, sorted=False)
            similar[rows, columns] = best
            votes[:, rows, columns] = labels[:, :, from_rows, from_columns].flatten(1)[:, place]
    return similar.flatten(0, 1), votes.flatten(1, 2)


def _reach(length: int, radius_cells: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of an axis, each with all that its cells may be matched with."""
    for start in range(0, length, TILE_CELLS):
        stop = min(start + TILE_CELLS, length)
        yield slice(start, stop), slice(max(0, start - radius_cells), min(length, stop + radius_cells))


def too_far(length: int, radius_cells: int, device: torch.device) -> Tensor:
    """``(length, length) bool``: pairs of cells along an axis further apart than the radius."""
    cells = torch.arange(length, device=device)
    return (cells[:, None] - cells).abs() > radius_cells


def _best(similar: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return similar.topk(min(count, similar.shape[1]), dim=1, sorted=False)


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
        masks = np.stack([_guided(mask, guide, 2 * radius_px + 1) for mask in masks]).clip(0, 1)
    if (height, width) != tuple(size):
        masks = np.stack([cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for mask in masks])
    return masks / np.maximum(masks.sum(axis=0), 1e-6)


def _guided(mask: np.ndarray, guide: np.ndarray, side_px: int) -> np.ndarray:
    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (side_px, side_px), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (mean(guide * guide) - mean_guide**2 + GUIDE_NOISE)
    offset = mean_mask - slope * mean_guide
    return mean(slope) * guide + mean(offset)
