"""Propagation by matching as the frames come: no clip, no look-ahead, memory that stays the same."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import CoPropError
from .features import Cells, FrameCells, from_quarters
from .matching import Key, best_matches, edge_refined, labels_of


@dataclass(frozen=True)
class MatchRule:
    """How labels are carried; what each number means stands at :class:`coprop_plugin.propagators.match.Match`."""

    recent_frames: int
    radius_cells: int
    candidates: int
    top_k: int
    temperature: float
    refine_px: int


class MatchStream:
    """One segment from its anchor on; the masks are those that the whole-clip call gives.

    Made by :meth:`Match.stream`. It holds the anchor and ``recent_frames`` frames, however long the segment is.

    Args:
        features: what looks at frames.
        rule: how labels are carried.
        cells: of the anchor frame.
        mask: ``(K+1, H, W) float32`` of the anchor frame.
    """

    def __init__(self, features: FrameCells, rule: MatchRule, *, cells: Cells, mask: np.ndarray) -> None:
        self._features, self._rule, self._size = features, rule, mask.shape[1:]
        labels = labels_of(torch.from_numpy(np.array(mask, np.float32)), cells.grid)
        self._anchor = Key(cells, labels.to(cells.deep))
        self._recent: deque[Key] = deque(maxlen=rule.recent_frames)

    def step(self, frame: np.ndarray) -> np.ndarray:
        """``(K+1, H, W) float32``: the probabilities of the next frame, at the anchor mask's size.

        Args:
            frame: ``(H, W, 3) uint8``, of the anchor frame's shape.

        Raises:
            CoPropError: a frame of another shape.
        """
        return self.carried(self._features.of_frame(frame), frame)

    def carried(self, cells: Cells, frame: np.ndarray) -> np.ndarray:
        """As :meth:`step`, of a frame whose features are known."""
        rule = self._rule
        if cells.grid != self._anchor.cells.grid:
            raise CoPropError(
                f"this frame has {cells.grid} cells, the anchor {self._anchor.cells.grid}: all frames of a segment have "
                "one shape. Resize the frame, or begin a new stream."
            )
        labels = best_matches(
            cells,
            self._anchor,
            self._recent,
            radius_cells=rule.radius_cells,
            candidates=rule.candidates,
            top_k=rule.top_k,
            temperature=rule.temperature,
        )
        self._recent.append(Key(cells, labels))
        return edge_refined(from_quarters(labels, cells.grid), frame, size=self._size, radius_px=rule.refine_px)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the stream remembers; bounded by ``recent_frames``."""
        keys = [self._anchor, *self._recent]
        return sum(key.cells.deep.nbytes + key.cells.fine.nbytes + key.labels.nbytes for key in keys)
