"""The pictures of the report: which frames are shown, drawn small, packed as data URIs of bounded size."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..structures import Clip, Prediction
from .colours import RGB
from .drawing import fit, paled
from .overlay import overlay

QUALITIES = (88, 75, 60, 40, 20)


@dataclass(frozen=True)
class Look:
    """How a frame is drawn: its longer side, the size of its JPEG, how much of its colour stays."""

    side_px: int
    max_bytes: int
    colour_share: float
    contour_px: int


SMALL = Look(side_px=320, max_bytes=30_000, colour_share=0.5, contour_px=2)
LARGE = Look(side_px=640, max_bytes=100_000, colour_share=1.0, contour_px=2)


@dataclass(frozen=True)
class Picture:
    """One JPEG of the page: its data URI and its size in pixels."""

    uri: str
    width_px: int
    height_px: int


def choose_frames(num_frames: int, points: Sequence[int], *, at_most: int) -> tuple[int, ...]:
    """Every frame if they are few; else those on both sides of control points, and the middles of the widest gaps."""
    if num_frames <= at_most:
        return tuple(range(num_frames))
    picked = np.unique(np.linspace(0, len(points) - 1, max(1, at_most // 3)).round().astype(int))
    chosen = {t for i in picked for t in (points[i] - 1, points[i]) if t >= 0} | {0, num_frames - 1}
    while len(chosen) < at_most:
        ordered = np.array(sorted(chosen))
        widest = int(np.diff(ordered).argmax())
        chosen.add(int(ordered[widest] + ordered[widest + 1]) // 2)
    return tuple(sorted(chosen))


def masked_pictures(
    clip: Clip, t: int, predictions: Sequence[Prediction], *, colours: Mapping[int, RGB], look: Look = SMALL
) -> tuple[Picture, ...]:
    """Frame ``t`` under the masks of each prediction."""
    frame = paled(shrink(clip.frames[t], look.side_px), colour_share=look.colour_share)
    drawn = (overlay(frame, p.label_map(t), colours=colours, contour_px=look.contour_px) for p in predictions)
    return tuple(picture(image, max_bytes=look.max_bytes) for image in drawn)


def shrink(frame: np.ndarray, side_px: int) -> np.ndarray:
    """``(H, W, 3) uint8`` with its longer side at most ``side_px``."""
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return frame
    return fit(frame, (max(1, round(height * scale)), max(1, round(width * scale))))


def picture(image: np.ndarray, *, max_bytes: int) -> Picture:
    """A JPEG of at most ``max_bytes`` where one of the qualities allows it, else of the lowest quality."""
    for quality in QUALITIES:
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "JPEG", quality=quality, optimize=True)
        if packed.tell() <= max_bytes:
            break
    uri = "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    return Picture(uri, image.shape[1], image.shape[0])
