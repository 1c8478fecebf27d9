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


def choose_frames(
    num_frames: int, points: Sequence[int], *, at_most: int, changed: Sequence[int] = ()
) -> tuple[int, ...]:
    """Every frame if they are few; else frames that changed, frames on both sides of control points, and the middles
    of the widest gaps.

    Up to half of the places are for changed frames, spread over all that there are: they are what a reader looks for.
    """
    if num_frames <= at_most:
        return tuple(range(num_frames))
    chosen = {0, num_frames - 1} | {changed[i] for i in _spread(len(changed), at_most // 2 - 2)}
    for i in _spread(len(points), max(1, at_most // 6 if changed else at_most // 3)):
        chosen |= {t for t in (points[i] - 1, points[i]) if t >= 0 and len(chosen) < at_most}
    while len(chosen) < at_most:
        ordered = np.array(sorted(chosen))
        widest = int(np.diff(ordered).argmax())
        chosen.add(int(ordered[widest] + ordered[widest + 1]) // 2)
    return tuple(sorted(chosen))


def _spread(count: int, at_most: int) -> list[int]:
    """Up to ``at_most`` places of ``count``, the first and the last among them."""
    return sorted({round(float(x)) for x in np.linspace(0, count - 1, max(1, min(count, at_most)))}) if count else []


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
