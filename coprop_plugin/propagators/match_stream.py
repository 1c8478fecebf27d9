"""Propagation by matching as the frames come: no clip, no look-ahead, memory that stays the same."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import CoPropError
from .features import Cells, from_quarters
from .matching import Key, best_matches, edge_refined, labels_of

if TYPE_CHECKING:
    from .match import Match


class MatchStream:
    """One segment from its anchor on; the masks are those that the whole-clip call gives.

    Made by :meth:`Match.stream`. It holds the anchor and ``recent_frames`` frames, however long the segment is.

    Args:
        match: gives the options.
        cells: of the anchor frame.
        mask: ``(K+1, H, W) float32`` of the anchor frame.
    """

    def __init__(self, match: Match, cells: Cells, mask: np.ndarray) -> None:
        self._match, self._size = match, mask.shape[1:]
        labels = labels_of(torch.from_numpy(np.array(mask, np.float32)), cells.grid)
        self._anchor = Key(cells, labels.to(cells.deep))
        self._recent: deque[Key] = deque(maxlen=match.recent_frames)

    def step(self, frame: np.ndarray) -> np.ndarray:
        """``(K+1, H, W) float32``: the probabilities of the next frame, at the anchor mask's size.

        Args:
            frame: ``(H, W, 3) uint8``, of the anchor frame's shape.

        Raises:
            CoPropError: a frame of another shape.
        """
        return self.carried(self._match.features.of_frame(frame), frame)

    def carried(self, cells: Cells, frame: np.ndarray) -> np.ndarray:
        """As :meth:`step`, of a frame whose features are known."""
        match = self._match
        if cells.grid != self._anchor.cells.grid:
            raise CoPropError(
                f"this frame has {cells.grid} cells, the anchor {self._anchor.cells.grid}: all frames of a segment have "
                "one shape. Resize the frame, or begin a new stream."
            )
        labels = best_matches(
            cells,
            self._anchor,
            self._recent,
            radius_cells=match.radius_cells,
            candidates=match.candidates,
            top_k=match.top_k,
            temperature=match.temperature,
        )
        self._recent.append(Key(cells, labels))
        return edge_refined(from_quarters(labels, cells.grid), frame, size=self._size, radius_px=match.refine_px)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the stream remembers; bounded by ``recent_frames``."""
        keys = [self._anchor, *self._recent]
        return sum(key.cells.deep.nbytes + key.cells.fine.nbytes + key.labels.nbytes for key in keys)
