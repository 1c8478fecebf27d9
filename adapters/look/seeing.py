"""Where in a frame something is seen: ImageNet's classes place by place, shared over frames, spread over what looks alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...propagators.features import STRIDE_PX, FrameFeatures
from ...propagators.matching import edge_refined, looked_up
from ...structures import Clip
from ...vision.cut import cut_out
from ...vision.heard_and_seen import Kind
from ...vision.imagenet import ImageNetClasses
from ...vision.spread import likeness, spread

SMALLER = 2 / 3  # the second size that a frame is looked at
# Chosen on frames of the library's training part. Of kinds that are not in a frame, 6 % have more than 0.3 somewhere,
# 3 % more than 0.5.
MASK_FROM = 0.4  # of a frame's largest evidence
SEEN_FROM = 0.3  # below it a frame does not show the thing
SURE_FROM = 0.5  # to be reached in one frame of the segment
TOP_K, TEMPERATURE = 10, 0.05
EDGE_PX = 4
CACHE_BYTES = 128 << 20


class Eye:
    """Looks for kinds of things in the frames of a clip.

    Args:
        weights: EfficientNet-lite0's file; by default that of the installed package.
        height_px: frames are looked at with this height and with two thirds of it.
        device: where the networks run.

    Raises:
        CoPropError: no weights.
    """

    def __init__(self, weights: str | Path | None = None, *, height_px: int = 384, device: str = "auto") -> None:
        self.height_px = height_px
        self._classes = ImageNetClasses(weights, device=device)
        self._features = FrameFeatures.load(weights, height_px=height_px, device=device, cache_bytes=CACHE_BYTES)

    def size_of(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the masks of such frames: theirs, or what is looked at where that is smaller."""
        height, width = frame_size
        if height <= self.height_px:
            return height, width
        return self.height_px, max(1, round(width * self.height_px / height))

    def evidence(self, frame: np.ndarray, kinds: Sequence[Kind]) -> np.ndarray:
        """``(K, h, w) float32``: how probably each place shows each kind, mean of two sizes; a cell is 8 pixels.

        Args:
            frame: ``(H, W, 3) uint8``.
        """
        size = self._cells(frame)
        seen = []
        for height_px in (self.height_px, round(self.height_px * SMALLER)):
            chances = self._classes.maps(frame, height_px=height_px).softmax(dim=0).cpu().numpy()
            seen.append(np.stack([_resized(kind.chance(chances), size) for kind in kinds]))
        return np.stack(seen).mean(axis=0)

    def shared(self, clip: Clip, t: int, own: np.ndarray, *, best: int, others: np.ndarray) -> np.ndarray:
        """``(h, w)``: the mean of a frame's evidence and of what its places look like in the clip's best frame.

        Args:
            own, others: ``(h, w)`` evidence of frame ``t`` and of frame ``best``.
        """
        if t == best:
            return own
        here, there = (_halved(self._features(clip, i)) for i in (t, best))
        labels = _halved(torch.from_numpy(others)[None].to(there))
        carried = looked_up(here, there, labels, top_k=TOP_K, temperature=TEMPERATURE)
        return (own + _resized(carried[0].cpu().numpy(), own.shape)) / 2

    def masks(self, clip: Clip, t: int, evidence: np.ndarray) -> np.ndarray:
        """``(K, H, W) float32``: probabilities at :meth:`size_of`, cut out by colour around the evidence.

        Args:
            evidence: ``(K, h, w)``, shared; a kind whose largest is below ``SEEN_FROM`` is not there.
        """
        height, width = self.size_of(clip.size)
        found = np.zeros((len(evidence), height, width), np.float32)
        there = [k for k, places in enumerate(evidence) if places.max() >= SEEN_FROM]
        if not there:
            return found
        weights = likeness(self._features(clip, t))
        for k in there:
            places = spread(torch.from_numpy(evidence[k]).to(weights), weights).cpu()
            share = (places / (2 * MASK_FROM * places.max())).clamp(max=1)
            both = torch.stack([1 - share, share])
            rough = edge_refined(both, clip.frames[t], size=(height, width), radius_px=EDGE_PX)[1]
            found[k] = cut_out(clip.frames[t], rough)
        return found

    def _cells(self, frame: np.ndarray) -> tuple[int, int]:
        """Height and width of a frame's features in cells."""
        height, width = frame.shape[:2]
        scale = self.height_px / height
        rows, columns = (max(1, round(side * scale / STRIDE_PX)) for side in (height, width))
        return rows, columns


def _resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _halved(values: Tensor) -> Tensor:
    """``(C, h, w)`` at half the size: comparing all places of two frames costs a sixteenth."""
    return torch.nn.functional.avg_pool2d(values[None], 2, ceil_mode=True)[0]
