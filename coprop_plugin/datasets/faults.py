"""How a simulated base model draws wrongly: errors of the masks, apart from which objects it believes to sound.

Each takes the signed distances to the contours that the model would draw, ``heights (K+1, H, W)`` in pixels, positive
inside, and gives those that it does draw. None of them is modelled by a fusion policy, and nothing is fitted on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

HIT_SHARE = 0.3  # of the frames, times the strength: those in which masks of this kind err


@dataclass(frozen=True)
class Moment:
    """Where and how strongly a fault works.

    Attributes:
        strength: how much of it.
        rng: of this frame and this fault alone.
        run: frames to the nearer end of the run in which the model shows what it shows now; 0 at an end.
    """

    strength: float
    rng: np.random.Generator
    run: int

    def hit(self) -> bool:
        """Whether this frame is one of those that err."""
        return bool(self.rng.random() < HIT_SHARE * self.strength)


Fault = Callable[[np.ndarray, Moment], np.ndarray]


def split(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """A gap runs through what is shown, so that one object becomes two regions."""
    if not moment.hit():
        return heights
    gap = np.abs(_line(heights, moment.rng, spread=0.2)) - 0.02 * max(heights.shape[1:])
    return np.minimum(heights, gap)


def merge(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """Bridges join regions that lie near each other."""
    if not moment.hit():
        return heights
    side = 2 * round(0.06 * moment.strength * max(heights.shape[1:])) + 1
    return np.maximum(
        heights,
        cv2.morphologyEx(heights.transpose(1, 2, 0), cv2.MORPH_CLOSE, np.ones((side, side)))
        .reshape(*heights.shape[1:], -1)
        .transpose(2, 0, 1),
    )


def jitter(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """The whole contour breathes from frame to frame, by about a tenth of a radius times the strength."""
    depth = np.maximum(heights.max(axis=(1, 2), keepdims=True), 1)
    return heights + 0.2 * moment.strength * depth * moment.rng.standard_normal((len(heights), 1, 1)).clip(-2, 2)


def partial(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """Only one side of what is shown."""
    if not moment.hit():
        return heights
    return np.minimum(heights, _line(heights, moment.rng, spread=0.3))


def blobs(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """A disc where nothing is."""
    if not moment.hit():
        return heights
    height, width = heights.shape[1:]
    y, x = np.mgrid[:height, :width]
    middle = moment.rng.uniform(0.1, 0.9, 2) * (height, width)
    radius = moment.rng.uniform(0.03, 0.08) * max(height, width)
    drawn = heights.copy()
    channel = int(moment.rng.integers(1, len(heights)))
    drawn[channel] = np.maximum(drawn[channel], radius - np.hypot(y - middle[0], x - middle[1]))
    return drawn


def fade(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """Masks shrink towards the ends of what is shown, over as many frames as the strength says."""
    if moment.run >= moment.strength:
        return heights
    depth = np.maximum(heights.max(axis=(1, 2), keepdims=True), 0)
    return heights - 0.6 * depth * (1 - moment.run / moment.strength)


def resolution(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """Some frames are drawn on a grid of 8 pixels times the strength."""
    if moment.rng.random() < 0.5:
        return heights
    height, width = heights.shape[1:]
    cell = 8 * moment.strength
    grid = max(2, round(width / cell)), max(2, round(height / cell))
    rows = [
        cv2.resize(cv2.resize(h, grid, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_NEAREST)
        for h in heights
    ]
    return np.stack(rows)


def confusion(heights: np.ndarray, moment: Moment) -> np.ndarray:
    """Classes take each other's masks; nothing happens where there is one foreground."""
    if len(heights) < 3 or not moment.hit():
        return heights
    return heights[[0, *(1 + np.roll(np.arange(len(heights) - 1), int(moment.rng.integers(1, len(heights) - 1))))]]


def _line(heights: np.ndarray, rng: np.random.Generator, *, spread: float) -> np.ndarray:
    """``(H, W) float32``: signed distance to a line near the middle of what is shown."""
    shown = np.argwhere(heights[1:].max(axis=0) > 0)
    y, x = np.mgrid[: heights.shape[1], : heights.shape[2]].astype(np.float32)
    if not len(shown):
        return np.full(heights.shape[1:], np.float32(heights.shape[2]))
    angle = rng.uniform(0, 2 * np.pi)
    along = shown @ (np.sin(angle), np.cos(angle))
    at = float(np.median(along)) + float(rng.uniform(-spread, spread)) * float(along.max() - along.min())
    return (y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle)) - np.float32(at)).astype(np.float32)
