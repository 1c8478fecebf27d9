"""Propagation along optical flow, through the frames in between where the video is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import cv2
import numpy as np

from ..errors import CoPropError
from ..parts import part
from ..structures import Clip
from .base import PropagationTask, Propagator, check_range
from .clip_cache import ClipCache
from .steps import grey_of, grid_of, pictures_of_step, sample


@part("propagator", "flow", example="max_side_px=480")
class Flow(Propagator):
    """OpenCV's DIS optical flow with forward-backward consistency.

    From one clip frame to the next the flow is chained through the video's frames in between (at AVSBench's one
    frame a second objects move too far for a single step); a folder of frames has none, and takes one step.
    The anchor mask is sampled once, along the composed displacements, so that it does not blur from frame to frame.
    Pixels whose displacement does not lead back to where it came from were hidden before: their object
    probability is scaled down.

    Args:
        max_side_px: the flow is computed at this size of the longer side at most.
        max_gap_s: frames in between are taken so that steps are about this long; 0 takes none.
        consistency_px: the forward-backward distance (at ``max_side_px`` scale) at which the trust is halved.
        cache_bytes: bound of the flows kept for a clip that is propagated several times.
    """

    def __init__(
        self,
        *,
        max_side_px: int = 320,
        max_gap_s: float = 0.25,
        consistency_px: float = 12.0,
        cache_bytes: int = 128 << 20,
    ) -> None:
        if max_side_px < 16 or max_gap_s < 0 or consistency_px <= 0 or cache_bytes < 0:
            raise CoPropError(
                "flow takes max_side_px >= 16, max_gap_s >= 0, consistency_px > 0 and cache_bytes >= 0, got "
                f"{max_side_px}, {max_gap_s}, {consistency_px}, {cache_bytes}."
            )
        self.max_side_px, self.max_gap_s, self.consistency_px = max_side_px, max_gap_s, consistency_px
        self._cache: ClipCache[tuple[np.ndarray, np.ndarray]] = ClipCache(cache_bytes)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setVariationalRefinementIterations(0)  # a third cheaper, and masks follow as well without it

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            check_range(clip, task)
            masks = np.empty((len(task), *task.mask.shape), np.float32)
            masks[task.anchor - task.start] = task.mask
            for direction in (1, -1):
                self._follow(clip, task, direction, masks)
            yield masks

    def _follow(self, clip: Clip, task: PropagationTask, direction: int, masks: np.ndarray) -> None:
        """Fill the masks of one side of the anchor."""
        stop = task.stop if direction > 0 else task.start - 1
        if task.empty:
            for t in range(task.anchor + direction, stop, direction):
                masks[t - task.start] = task.mask
            return
        place: np.ndarray | None = None  # (h, w, 2): where each pixel of frame t lies in the anchor frame
        trust: np.ndarray | None = None
        for t in range(task.anchor + direction, stop, direction):
            back, consistent = self._step(clip, t, t - direction)
            grid = grid_of(back.shape[:2])
            previous = grid + back
            place = previous if place is None else sample(place, previous)
            trust = consistent if trust is None else consistent * sample(trust, previous)
            _carry(task.mask, place, trust, out=masks[t - task.start])

    def _step(self, clip: Clip, t: int, source: int) -> tuple[np.ndarray, np.ndarray]:
        """``(h, w, 2)`` displacement from frame t to its neighbour ``source``, and ``(h, w)`` trust in [0, 1]."""
        key = (t, source)
        if (known := self._cache.get(clip, key)) is not None:
            return known
        pictures = self._pictures(clip, min(t, source))
        if source < t:
            pictures = pictures[::-1]
        there, back = self._chain(pictures), self._chain(pictures[::-1])
        step = _with_trust(there, back, self.consistency_px)
        for place, found in (((source, t), _with_trust(back, there, self.consistency_px)), (key, step)):
            self._cache.put(clip, place, found, num_bytes=_bytes(found))
        return step

    def _pictures(self, clip: Clip, t: int) -> list[np.ndarray]:
        """Grey pictures from frame t to frame t + 1, those in between included."""
        return pictures_of_step(clip, t, lambda frame: grey_of(frame, self.max_side_px), max_gap_s=self.max_gap_s)

    def _chain(self, pictures: list[np.ndarray]) -> np.ndarray:
        """``(h, w, 2)``: the displacement from the first picture to the last."""
        total: np.ndarray | None = None
        for here, there in pairwise(pictures):
            step = self._dis.calc(here, there, None)  # type: ignore[call-overload]
            total = step if total is None else total + sample(step, grid_of(step.shape[:2]) + total)
        assert total is not None
        return total


def _bytes(flow: tuple[np.ndarray, np.ndarray]) -> int:
    return flow[0].nbytes + flow[1].nbytes


def _with_trust(there: np.ndarray, back: np.ndarray, half_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The displacement and how well the way back returns to its start: 1 at no error, 1/2 at ``half_px``."""
    error = there + sample(back, grid_of(there.shape[:2]) + there)
    ex, ey = error[..., 0], error[..., 1]
    return there, 1 / (1 + (ex * ex + ey * ey) / np.float32(half_px**2))


def _carry(mask: np.ndarray, place: np.ndarray, trust: np.ndarray, *, out: np.ndarray) -> None:
    """Fill ``out (K+1, H, W)``: the anchor mask seen from frame t, object probabilities scaled by the trust."""
    height, width = mask.shape[1:]
    scale = np.array([width / place.shape[1], height / place.shape[0]], np.float32)
    if place.shape[:2] != (height, width):
        place = cv2.resize((place + 0.5) * scale - 0.5, (width, height), interpolation=cv2.INTER_LINEAR)
        trust = cv2.resize(trust, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = cv2.split(place)
    weight = trust * ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))
    for channel, carried in zip(mask[1:], out[1:], strict=True):
        np.multiply(sample(np.ascontiguousarray(channel), place), weight, out=carried)
    np.subtract(1, out[1:].sum(axis=0).clip(0, 1), out=out[0])
