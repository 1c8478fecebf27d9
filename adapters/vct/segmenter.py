"""Segments by a SAM-family model of transformers, asked with a grid of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import CoPropError
from ...masks.rle import decode_rle
from ...weights.mask_generators import mask_generator
from ...weights.pretrained import fingerprint, model_folder, read_config
from .pictures import FromMasks


class Segmenter(FromMasks):
    """Everything that a mask-generating model of transformers (SAM, SAM-HQ, SAM 2, …) finds in a frame.

    The library's own code and image processor run the grid; SAM 2's processor needs torchvision.

    Args:
        model: folder, or hub id in the local cache; read from safetensors, no code of it is run.
        points_per_side: of the grid.
        points_per_batch: asked at once.
        pred_iou_thresh, stability_score_thresh: below them a mask is dropped.
        nms_iou: of two masks whose boxes overlap by more, the better one stays.
        device: ``auto``, or as torch names it.

    Raises:
        CoPropError: no such model, one that generates no masks, or options out of range.
    """

    def __init__(
        self,
        *,
        model: str | Path,
        points_per_side: int = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        nms_iou: float = 0.7,
        device: str = "auto",
    ) -> None:
        if points_per_side < 1 or points_per_batch < 1 or not 0 <= nms_iou <= 1:
            raise CoPropError("points_per_side and points_per_batch are 1 or more, nms_iou lies in [0, 1].")
        self.folder, self.nms_iou, self.device = model_folder(model), nms_iou, device
        self.kind = read_config(self.folder)["model_type"]
        self.options = {
            "points_per_crop": points_per_side,
            "points_per_batch": points_per_batch,
            "pred_iou_thresh": pred_iou_thresh,
            "stability_score_thresh": stability_score_thresh,
        }
        self._generator: Any = None
        super().__init__(
            lambda clip, t: self.masks(np.asarray(clip.frames[t])),
            about=f"Maskige: segments by {self.kind} ('{self.folder.name}'), not by Semantic-SAM as published: scores "
            "are NOT the published ones",
            key=f"{fingerprint(self.folder)}:{self.options}:{nms_iou}",
        )

    def masks(self, frame: np.ndarray) -> list[np.ndarray]:
        """``(H, W) bool`` for each segment of a frame ``(H, W, 3) uint8``, the surest first."""
        if self._generator is None:
            self._generator = mask_generator(self.folder, device=self.device)
        found = self._generator(Image.fromarray(frame), **self.options)
        keep = best_boxes(found["boxes"], found["scores"], overlap=self.nms_iou)
        return [decode_rle(found["masks"][i], what=f"a mask of '{self.folder.name}'") for i in keep]


def best_boxes(boxes: np.ndarray, scores: np.ndarray, *, overlap: float) -> list[int]:
    """Boxes ``(n, 4)`` (x0, y0, x1, y1) that overlap no better one by more than this IoU, the best first."""
    low, high = boxes[:, :2], boxes[:, 2:]
    area = (high - low).prod(axis=1)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        both = (np.minimum(high[kept], high[i]) - np.maximum(low[kept], low[i])).clip(min=0).prod(axis=1)
        if (both <= overlap * np.maximum(area[kept] + area[i] - both, 1e-9)).all():
            kept.append(i)
    return kept
