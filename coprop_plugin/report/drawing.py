"""Parts of drawn pictures: captions, the strip of sound, panels put together. All are ``(H, W, 3) uint8`` RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..structures import Clip, ControlPoints
from .colours import RGB
from .envelope import envelope


@dataclass(frozen=True)
class Theme:
    """The colours around the frames."""

    paper: RGB
    ink: RGB
    wave: RGB
    point: RGB
    shade: RGB


DARK = Theme(paper=(20, 23, 26), ink=(225, 228, 230), wave=(104, 150, 170), point=(255, 120, 108), shade=(48, 54, 60))
LIGHT = Theme(paper=(255, 255, 255), ink=(45, 50, 56), wave=(127, 159, 176), point=(179, 38, 30), shade=(228, 231, 234))


def caption(
    text: str, *, width_px: int, height_px: int, theme: Theme, size_px: int = 14, colour: RGB | None = None
) -> np.ndarray:
    """One line of text, centred."""
    image = Image.new("RGB", (width_px, height_px), theme.paper)
    font = ImageFont.load_default(size_px)
    place = width_px / 2, height_px / 2
    ImageDraw.Draw(image).text(place, text, fill=colour or theme.ink, font=font, anchor="mm")
    return np.asarray(image)


def sound_strip(
    clip: Clip, control_points: ControlPoints | None, *, width_px: int, height_px: int, theme: Theme
) -> np.ndarray:
    """The waveform over the whole width, silent segments hatched."""
    strip = np.empty((height_px, width_px, 3), np.uint8)
    strip[:] = theme.paper
    rows, columns = np.indices(strip.shape[:2])
    edges = (
        np.append(clip.time_base.sound_window_s[:, 0], clip.time_base.duration_s) / clip.time_base.duration_s * width_px
    )
    for segment in control_points.segments() if control_points else ():
        if segment.silent:
            inside = (columns >= edges[segment.start]) & (columns < edges[segment.stop])
            strip[inside & ((rows + columns) % 6 < 2)] = theme.shade
    outline = envelope(clip.sound, clip.time_base.duration_s, columns=width_px)
    scaled = outline / (np.abs(outline).max() or 1.0) * (height_px / 2 - 3)
    height = height_px / 2 - 0.5 - rows  # above the middle
    strip[(height <= scaled[:, 1] + 0.5) & (height >= scaled[:, 0] - 0.5)] = theme.wave
    return strip


def mark_column(strip: np.ndarray, column: int, colour: RGB) -> None:
    """A vertical line with a triangle at its top, drawn in place."""
    strip[:, column] = colour
    for row in range(4):
        strip[row, max(0, column - 3 + row) : column + 4 - row] = colour


def fit(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W, 3)`` resized to ``(height, width)``."""
    if frame.shape[:2] == size:
        return np.ascontiguousarray(frame)
    way = cv2.INTER_AREA if frame.shape[0] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(frame), size[::-1], interpolation=way)


def paled(frame: np.ndarray, *, colour_share: float) -> np.ndarray:
    """A frame with part of its colour taken away, so that masks stand out in a small picture."""
    grey = frame.mean(axis=2, keepdims=True)
    return (colour_share * frame + (1 - colour_share) * grey).astype(np.uint8)


def beside(panels: Sequence[np.ndarray], *, gap_px: int, theme: Theme) -> np.ndarray:
    """Panels of one height in a row, with gaps."""
    gap = np.full((panels[0].shape[0], gap_px, 3), theme.paper, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(parts, axis=1)


def below(panels: Sequence[np.ndarray], *, gap_px: int, theme: Theme) -> np.ndarray:
    """Panels of one width under each other, with gaps."""
    gap = np.full((gap_px, panels[0].shape[1], 3), theme.paper, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(parts, axis=0)
