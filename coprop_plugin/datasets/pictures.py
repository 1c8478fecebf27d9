"""The pictures of synthetic clips: textured objects that move smoothly over a textured, slowly drifting background.

Everything is a closed formula of time, so any moment can be rendered, in any order, and the masks are exact.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_ANGLES = 256
_TEXTURE_PX = 128
_TEXELS_PER_PX = 2  # textures are sampled by nearest neighbour; this keeps their motion smooth
_DRIFT_PX = 4
_HARMONICS = np.arange(2, 7)


@dataclass(frozen=True)
class Swing:
    """``offset + amplitude * sin(2 pi (rate_hz * t + phase))``: the one law of motion here."""

    offset: float
    amplitude: float
    rate_hz: float
    phase: float

    def at(self, time_s: float) -> float:
        return self.offset + self.amplitude * math.sin(2 * math.pi * (self.rate_hz * time_s + self.phase))


@dataclass(frozen=True)
class MovingObject:
    """A star-shaped, textured object; lengths in pixels, angles in radians.

    Attributes:
        x, y: the centre's path.
        angle, scale: its turning and breathing.
        radius_px: of the undeformed shape.
        aspect: width over height.
        wobble: ``(5, 3)`` amplitude (share of the radius), phase and drift (rad/s) of the contour's harmonics 2 to 6.
        texture: ``(128, 128) uint32`` packed RGBX.
    """

    x: Swing
    y: Swing
    angle: Swing
    scale: Swing
    radius_px: float
    aspect: float
    wobble: np.ndarray
    texture: np.ndarray

    def cover(self, time_s: float, xs: np.ndarray, ys: np.ndarray) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        """Rows, columns, which of their pixels the object covers ``(h, w) bool``, and their texels ``(h, w) uint32``.

        Args:
            time_s: the moment.
            xs, ys: pixel centres of the columns and rows, ascending.
        """
        cx, cy, scale = self.x.at(time_s), self.y.at(time_s), self.scale.at(time_s)
        stretch = self.aspect**0.5
        contour = self.radius_px * (1 + self._contour(time_s))
        reach = contour.max() * scale * max(stretch, 1 / stretch)
        columns = slice(*np.searchsorted(xs, (cx - reach, cx + reach)))
        rows = slice(*np.searchsorted(ys, (cy - reach, cy + reach)))
        dx, dy = (xs[columns] - cx).astype(np.float32), (ys[rows] - cy).astype(np.float32)
        cos, sin = np.cos(self.angle.at(time_s)) / scale, np.sin(self.angle.at(time_s)) / scale
        u = ((cos * dx)[None, :] + (sin * dy)[:, None]) / stretch
        v = ((cos * dy)[:, None] - (sin * dx)[None, :]) * stretch
        direction = ((np.arctan2(v, u) + np.pi) * (_ANGLES / (2 * np.pi))).astype(np.int16) % _ANGLES
        inside = u * u + v * v <= (contour**2)[direction]
        row = (v * _TEXELS_PER_PX).astype(np.int32) & (_TEXTURE_PX - 1)
        column = (u * _TEXELS_PER_PX).astype(np.int32) & (_TEXTURE_PX - 1)
        return rows, columns, inside, self.texture[row, column]

    def _contour(self, time_s: float) -> np.ndarray:
        """``(_ANGLES,)`` deviation of the contour from the circle, in shares of the radius."""
        amplitude, phase, drift = self.wobble.T[:, :, None]
        theta = (np.arange(_ANGLES) + 0.5) * (2 * np.pi / _ANGLES)
        return (amplitude * np.cos(_HARMONICS[:, None] * theta + phase + drift * time_s)).sum(axis=0).astype(np.float32)


@dataclass(frozen=True)
class Picture:
    """Objects over a background, at any moment.

    Attributes:
        size: height and width in pixels.
        objects: from the back to the front; object ``i`` has the id ``i + 1``.
        background: ``(2 (H + 2 drift), 2 (W + 2 drift)) uint32`` packed RGBX, at twice the resolution.
        drift_x, drift_y: the background's path.
    """

    size: tuple[int, int]
    objects: tuple[MovingObject, ...]
    background: np.ndarray
    drift_x: Swing
    drift_y: Swing

    def render(self, time_s: float) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB at a moment."""
        height, width = self.size
        top = round(2 * (_DRIFT_PX + self.drift_y.at(time_s)))
        left = round(2 * (_DRIFT_PX + self.drift_x.at(time_s)))
        canvas = self.background[top : top + 2 * height : 2, left : left + 2 * width : 2].copy()
        for item in self.objects:
            rows, columns, inside, texels = item.cover(time_s, *self._grid(1))
            np.copyto(canvas[rows, columns], texels, where=inside)
        return np.ascontiguousarray(canvas.view(np.uint8).reshape(height, width, 4)[..., :3])

    def instances(self, time_s: float, *, step_px: int = 1) -> np.ndarray:
        """``(H, W) uint8`` object ids at a moment; of every ``step_px``-th row and column."""
        xs, ys = self._grid(step_px)
        ids = np.zeros((len(ys), len(xs)), np.uint8)
        for i, item in enumerate(self.objects):
            rows, columns, inside, _ = item.cover(time_s, xs, ys)
            ids[rows, columns][inside] = i + 1
        return ids

    def _grid(self, step_px: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(0.5, self.size[1], step_px), np.arange(0.5, self.size[0], step_px)


def draw_picture(
    rng: np.random.Generator, look: np.random.Generator, classes: list[int], size: tuple[int, int], times_s: np.ndarray
) -> Picture:
    """A picture in which every object stays visible (at least 1 % of the frame) at all of ``times_s``.

    Args:
        rng: for places and motion.
        look: for textures.
        classes: of the objects from the back to the front; the look of an object follows its class.
        size: height and width in pixels.
        times_s: the moments that count.
    """
    textures = [_class_texture(look, c) for c in classes]
    background = _background(look, size)
    drift = [Swing(0, rng.uniform(1, _DRIFT_PX - 1), rng.uniform(0.05, 0.12), rng.random()) for _ in range(2)]
    best, best_area = None, -1.0
    for _ in range(24):
        objects = tuple(_draw_object(rng, texture, size) for texture in textures)
        picture = Picture(size, objects, background, *drift)
        area = _least_visible(picture, times_s)
        if area > best_area:
            best, best_area = picture, area
        if area >= 0.01:
            break
    assert best is not None
    return best


def _least_visible(picture: Picture, times_s: np.ndarray) -> float:
    """The smallest visible area of an object at any of the moments, as a share of the frame."""
    step = max(1, min(picture.size) // 48)
    moments = times_s if len(times_s) <= 16 else times_s[np.linspace(0, len(times_s) - 1, 16).astype(int)]
    maps = np.stack([picture.instances(t, step_px=step) for t in moments])
    return min(float((maps == i + 1).mean(axis=(1, 2)).min()) for i in range(len(picture.objects)))


def _draw_object(rng: np.random.Generator, texture: np.ndarray, size: tuple[int, int]) -> MovingObject:
    """Motion is moderate: at 1 frame a second, neighbouring masks of an object overlap by about three quarters."""
    height, width = size
    side = min(size)
    path = [
        Swing(
            rng.uniform(0.2, 0.8) * length, rng.uniform(0.03, 0.09) * side, rng.uniform(0.05, 0.13), float(rng.random())
        )
        for length in (width, height)
    ]
    wobble = np.stack(
        [
            rng.uniform(0.3, 1.0, len(_HARMONICS)) * 0.26 / _HARMONICS,
            rng.uniform(0, 2 * np.pi, len(_HARMONICS)),
            rng.uniform(-0.6, 0.6, len(_HARMONICS)),
        ],
        axis=1,
    )
    return MovingObject(
        x=path[0],
        y=path[1],
        angle=Swing(rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.12), float(rng.random())),
        scale=Swing(1.0, rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.12), float(rng.random())),
        radius_px=rng.uniform(0.11, 0.19) * side,
        aspect=rng.uniform(0.7, 1.4),
        wobble=wobble,
        texture=texture,
    )


def _class_texture(rng: np.random.Generator, class_id: int) -> np.ndarray:
    """A pattern and a hue by the class, with shades and grain of its own."""
    x = np.arange(_TEXTURE_PX, dtype=np.float32)[None, :] * np.float32(2 * np.pi / _TEXTURE_PX)
    y = x.T
    patterns: tuple[Callable[[], np.ndarray], ...] = (
        lambda: np.sin(4 * x),
        lambda: np.sin(3 * x) * np.sin(3 * y),
        lambda: np.sin(4 * (x + y)),
        lambda: np.cos(5 * np.hypot(x - np.float32(np.pi), y - np.float32(np.pi))),
        lambda: np.sin(2 * x + 2 * np.sin(2 * y)),
    )
    pattern = 0.5 + 0.5 * patterns[class_id % len(patterns)]()
    hue = (class_id * 0.6180339887) % 1
    dark = colorsys.hsv_to_rgb(hue, 0.85, rng.uniform(0.35, 0.55))
    light = colorsys.hsv_to_rgb((hue + 0.08) % 1, 0.45, rng.uniform(0.8, 1.0))
    grain = rng.random((_TEXTURE_PX, _TEXTURE_PX), dtype=np.float32)
    return _coloured(0.65 * pattern + 0.25 * _noise(rng, pattern.shape, 16) + 0.1 * grain, dark, light)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Muted clouds of two colours with finer and finer detail."""
    shape = (2 * (size[0] + 2 * _DRIFT_PX), 2 * (size[1] + 2 * _DRIFT_PX))
    first, second = (colorsys.hsv_to_rgb(rng.random(), 0.3, rng.uniform(*value)) for value in ((0.2, 0.4), (0.6, 0.9)))
    clouds = _noise(rng, shape, 5)
    for cells, share in ((40, 0.3), (128, 0.2)):
        clouds *= 1 - share
        clouds += share * _noise(rng, shape, cells)
    return _coloured(clouds, first, second)


def _coloured(shade: np.ndarray, first: tuple[float, float, float], second: tuple[float, float, float]) -> np.ndarray:
    """``(H, W) uint32`` whose bytes are R, G, B and 0: shades in [0, 1] on a ramp between two colours."""
    ramp = np.zeros((256, 4), np.uint8)
    ramp[:, :3] = np.linspace(first, second, 256) * 255 + 0.5
    return ramp.view(np.uint32)[:, 0][np.clip(shade * np.float32(255), 0, 255).astype(np.uint8)]


def _noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """``shape float32`` in [0, 1]: random values on a grid of ``cells``, interpolated linearly."""
    grid = rng.random((cells + 1, cells + 1), dtype=np.float32)
    rows, columns = (_interpolation(length, cells) for length in shape)
    return rows @ grid @ columns.T


def _interpolation(length: int, cells: int) -> np.ndarray:
    place = np.arange(length) * (cells / length)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells + 1))).astype(np.float32)
