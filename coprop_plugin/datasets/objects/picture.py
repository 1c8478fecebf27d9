"""The pictures of clips of real things: cut-outs that move over a photograph under a moving camera.

As in :mod:`..pictures` everything is a closed formula of time: any moment can be rendered, and the masks are exact.
Places are pixels of the frame as the camera stands at rest; an object's mask is where its alpha is at least one half
and no object in front of it covers the pixel as much.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..pictures import Swing

_SOLID = 128  # alpha from which a pixel belongs to an object
_MARGIN = 0.22  # of the frame's side: how far the photograph goes on beyond each border
_GRAIN_PX = 64
_TRIES = 24
_LEAST_SHOWN = 0.01  # of the frame
_SHADOW_PAD = 0.12  # of the cut-out's side, around a shadow: it is soft


@dataclass(frozen=True)
class Shadow:
    """An object's shadow: its blurred shape, laid on the ground or cast on what is behind it.

    Attributes:
        alpha: ``(h, w) uint8``, padded by _SHADOW_PAD.
        strength: how much light it takes, in [0, 1].
        squash: height of the shadow over the object's; 1 is a shadow on a wall.
        lean: how far its top is to the side, in heights.
        offset: ``(x, y)`` in heights.
    """

    alpha: np.ndarray
    strength: float
    squash: float
    lean: float
    offset: tuple[float, float]

    @cached_property
    def kept(self) -> np.ndarray:
        """``(256,) uint8``: alpha -> how much light is left, of 255."""
        return np.rint(255 - self.strength * np.arange(256)).astype(np.uint8)


@dataclass(frozen=True)
class CutOut:
    """A moving cut-out; lengths in pixels, angles in radians.

    Attributes:
        rgba: ``(h, w, 4) uint8``, colours multiplied by alpha.
        x, y: the centre's path.
        angle, scale: turning, and size over the cut-out's own.
        tilt_x, tilt_y: perspective: how much larger one side is than the middle.
        shadow: or none.
    """

    rgba: np.ndarray
    x: Swing
    y: Swing
    angle: Swing
    scale: Swing
    tilt_x: Swing
    tilt_y: Swing
    shadow: Shadow | None

    def matrix(self, time_s: float, camera: np.ndarray) -> np.ndarray:
        """``(3, 3)``: places in the cut-out -> places in the frame."""
        height, width = self.rgba.shape[:2]
        angle, scale = self.angle.at(time_s), self.scale.at(time_s)
        cos, sin, x, y = scale * math.cos(angle), scale * math.sin(angle), self.x.at(time_s), self.y.at(time_s)
        tilt_x, tilt_y = self.tilt_x.at(time_s) * 2 / width, self.tilt_y.at(time_s) * 2 / height
        # Placed, times tilted, times centred: written out, since numpy is slow on three by three numbers.
        left, top = (width - 1) / 2, (height - 1) / 2
        far = 1 - tilt_x * left - tilt_y * top
        rows = [
            [cos + x * tilt_x, -sin + x * tilt_y, x * far - cos * left + sin * top],
            [sin + y * tilt_x, cos + y * tilt_y, y * far - sin * left - cos * top],
            [tilt_x, tilt_y, far],
        ]
        return camera @ np.array(rows)


@dataclass(frozen=True)
class Look:
    """How the camera sees: the same for all of a clip.

    Attributes:
        levels: ``(256, 1, 3) uint8`` what becomes of each value of R, G and B.
        blur_px: of the lens (standard deviation), 0 for none.
        grain: ``(H + _GRAIN_PX, W + _GRAIN_PX, 3) int16`` of the sensor, or ``None``.
        jpeg_quality: of the compression, or ``None``.
    """

    levels: np.ndarray
    blur_px: float
    grain: np.ndarray | None
    jpeg_quality: int | None


@dataclass(frozen=True)
class Photo:
    """Cut-outs over a photograph, at any moment.

    Attributes:
        size: height and width in pixels.
        objects: from the back to the front; object ``i`` has the id ``i + 1``.
        background: ``(h, w, 3) uint8``; the frame at rest is its middle.
        pan_x, pan_y, zoom: the camera's path.
        look: of the camera.
    """

    size: tuple[int, int]
    objects: tuple[CutOut, ...]
    background: np.ndarray
    pan_x: Swing
    pan_y: Swing
    zoom: Swing
    look: Look

    def render(self, time_s: float) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB at a moment."""
        import cv2

        height, width = self.size
        camera = self._camera(time_s)
        middle = np.array(
            [[1, 0, (width - self.background.shape[1]) / 2], [0, 1, (height - self.background.shape[0]) / 2], [0, 0, 1]]
        )
        frame = cv2.warpAffine(
            self.background, (camera @ middle)[:2], (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
        for item in self.objects:
            if item.shadow is not None:
                _darken(frame, item.shadow, item.matrix(time_s, camera), item.rgba.shape[:2])
            rows, columns, patch = _warped(item.rgba, item.matrix(time_s, camera), self.size)
            if patch is not None:
                clear = cv2.cvtColor(cv2.bitwise_not(patch[..., 3]), cv2.COLOR_GRAY2RGB)
                under = cv2.multiply(frame[rows, columns], clear, scale=1 / 255)
                frame[rows, columns] = cv2.add(under, cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB))
        return self._seen(frame, time_s)

    def _seen(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        """A frame through lens, sensor and compression."""
        import cv2

        if self.look.blur_px:
            frame = cv2.GaussianBlur(frame, (0, 0), self.look.blur_px)
        frame = cv2.LUT(frame, self.look.levels)
        if self.look.grain is not None:
            # Another part of the grain at every moment, by a formula of time.
            top, left = int(time_s * 9973) * 37 % _GRAIN_PX, int(time_s * 7919) * 29 % _GRAIN_PX
            grain = self.look.grain[top : top + self.size[0], left : left + self.size[1]]
            frame = cv2.add(frame, grain, dtype=cv2.CV_8U)
        if self.look.jpeg_quality is not None:
            blue_first = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            _, coded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, self.look.jpeg_quality])
            decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
            assert decoded is not None
            frame = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return np.ascontiguousarray(frame)

    def instances(self, time_s: float, *, step_px: int = 1) -> np.ndarray:
        """``(H, W) uint8`` object ids at a moment; of every ``step_px``-th row and column."""
        size = (len(range(0, self.size[0], step_px)), len(range(0, self.size[1], step_px)))
        ids = np.zeros(size, np.uint8)
        camera = np.diag([1 / step_px, 1 / step_px, 1]) @ self._camera(time_s)
        for i, item in enumerate(self.objects):
            rows, columns, alpha = _warped(item.rgba[..., 3], item.matrix(time_s, camera), size)
            if alpha is not None:
                ids[rows, columns][alpha >= _SOLID] = i + 1
        return ids

    def _camera(self, time_s: float) -> np.ndarray:
        """``(3, 3)``: places in the frame at rest -> places in the frame."""
        zoom, (height, width) = self.zoom.at(time_s), self.size
        x, y = self.pan_x.at(time_s), self.pan_y.at(time_s)
        return np.array([[zoom, 0, (1 - zoom) * width / 2 - x], [0, zoom, (1 - zoom) * height / 2 - y], [0, 0, 1]])


def draw_photo(
    rng: np.random.Generator,
    look: np.random.Generator,
    cutouts: Sequence[np.ndarray],
    photograph: np.ndarray,
    size: tuple[int, int],
    times_s: np.ndarray,
) -> Photo:
    """A picture in which every object stays visible (at least 1 % of the frame) at all of ``times_s``, if it can be had.

    Args:
        rng: for places and motion.
        look: for light, colours, camera.
        cutouts: ``(h, w, 4) uint8`` of the objects from the back to the front.
        photograph: ``(h, w, 3) uint8``, any size.
        size: height and width in pixels.
        times_s: the moments that count.
    """
    side = min(size)
    lit = [_lit(look, cutout) for cutout in cutouts]
    background = _crop(look, photograph, size)
    camera = (
        Swing(0, rng.uniform(0, 0.09) * side, rng.uniform(0.03, 0.1), float(rng.random())),
        Swing(0, rng.uniform(0, 0.04) * side, rng.uniform(0.03, 0.1), float(rng.random())),
        Swing(1.03, rng.uniform(0, 0.05), rng.uniform(0.03, 0.09), float(rng.random())),
    )
    seen = _draw_look(look, size)
    sun = float(look.uniform(-0.9, 0.9))
    best, best_area = None, -1.0
    for _ in range(_TRIES):
        objects = tuple(_draw_cutout(rng, rgba, size, sun) for rgba in lit)
        photo = Photo(size, objects, background, *camera, seen)
        area = _least_shown(photo, times_s)
        if area > best_area:
            best, best_area = photo, area
        if area >= _LEAST_SHOWN:
            break
    assert best is not None
    return best


def at_rest(photo: Photo, objects: Collection[int]) -> Photo:
    """The picture under a camera that stands, in which these objects (their ids) stand too, where they are at 0 s."""

    def still(swing: Swing) -> Swing:
        return Swing(swing.at(0.0), 0.0, 0.0, 0.0)

    def stood(item: CutOut) -> CutOut:
        return replace(
            item,
            x=still(item.x),
            y=still(item.y),
            angle=still(item.angle),
            scale=still(item.scale),
            tilt_x=still(item.tilt_x),
            tilt_y=still(item.tilt_y),
        )

    placed = tuple(stood(item) if i + 1 in objects else item for i, item in enumerate(photo.objects))
    pan_x, pan_y, zoom = still(photo.pan_x), still(photo.pan_y), still(photo.zoom)
    return replace(photo, objects=placed, pan_x=pan_x, pan_y=pan_y, zoom=zoom)


def _least_shown(photo: Photo, times_s: np.ndarray) -> float:
    """The smallest visible area of an object at any of the moments, as a share of the frame."""
    step = max(1, min(photo.size) // 48)
    moments = times_s if len(times_s) <= 12 else times_s[np.linspace(0, len(times_s) - 1, 12).astype(int)]
    maps = np.stack([photo.instances(t, step_px=step) for t in moments])
    return min((float((maps == i + 1).mean(axis=(1, 2)).min()) for i in range(len(photo.objects))), default=1.0)


def _draw_cutout(rng: np.random.Generator, rgba: np.ndarray, size: tuple[int, int], sun: float) -> CutOut:
    """A cut-out that covers 3 to 13 % of the frame, upright within a few degrees, in moderate motion."""
    import cv2

    height, width = size
    side = min(size)
    solid = max(1.0, float((rgba[..., 3] >= _SOLID).sum()))
    scale = np.sqrt(rng.uniform(0.03, 0.13) * height * width / solid)
    scale = min(scale, 0.75 * side / max(rgba.shape[:2]))
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    # Brought near its size once, by areas: every frame then only moves it a little.
    fitted = tuple(max(8, round(n * scale * 1.15)) for n in (rgba.shape[1], rgba.shape[0]))
    rgba = cv2.resize(
        np.ascontiguousarray(rgba), fitted, interpolation=cv2.INTER_AREA if scale < 0.87 else cv2.INTER_CUBIC
    )
    rgba[..., :3] = np.minimum(rgba[..., :3], rgba[..., 3:])  # cubic interpolation overshoots
    # An empty border of a pixel: alpha falls to 0 inside the picture, so that edges stay soft where it ended.
    rgba = cv2.copyMakeBorder(rgba, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    x, y = (
        Swing(
            rng.uniform(0.16, 0.84) * length,
            rng.uniform(0.02, 0.1) * side,
            rng.uniform(0.04, 0.13),
            float(rng.random()),
        )
        for length in (width, height)
    )
    return CutOut(
        rgba,
        x=x,
        y=y,
        angle=Swing(rng.uniform(-0.12, 0.12), rng.uniform(0.0, 0.14), rng.uniform(0.05, 0.15), float(rng.random())),
        scale=Swing(1 / 1.15, rng.uniform(0.01, 0.1), rng.uniform(0.04, 0.12), float(rng.random())),
        tilt_x=Swing(0, rng.uniform(0, 0.12), rng.uniform(0.04, 0.12), float(rng.random())),
        tilt_y=Swing(0, rng.uniform(0, 0.08), rng.uniform(0.04, 0.12), float(rng.random())),
        shadow=_draw_shadow(rng, rgba[..., 3], sun),
    )


def _draw_shadow(rng: np.random.Generator, alpha: np.ndarray, sun: float) -> Shadow | None:
    """Half of the objects stand on the ground, a quarter are before a wall, the others cast none."""
    import cv2

    kind, strength = rng.random(), float(rng.uniform(0.25, 0.6))
    if kind >= 0.75:
        return None
    pad = round(_SHADOW_PAD * max(alpha.shape))
    padded = cv2.copyMakeBorder(alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    soft = cv2.GaussianBlur(padded, (0, 0), max(0.8, 0.03 * max(alpha.shape)))
    if kind < 0.5:
        return Shadow(soft, strength, float(rng.uniform(0.12, 0.35)), sun, (0.0, 0.0))
    return Shadow(soft, strength * 0.7, 1.0, 0.0, (0.06 * np.sign(sun), 0.05))


def _darken(frame: np.ndarray, shadow: Shadow, matrix: np.ndarray, shape: tuple[int, int]) -> None:
    import cv2

    height = shape[0]
    pad = (shadow.alpha.shape[0] - height) // 2
    # In the cut-out's own places: squashed towards its foot, its top to the side.
    laid = np.array(
        [
            [1, -shadow.lean * shadow.squash, shadow.lean * shadow.squash * height + shadow.offset[0] * height],
            [0, shadow.squash, (1 - shadow.squash) * height + shadow.offset[1] * height],
            [0, 0, 1],
        ]
    )
    unpadded = np.array([[1, 0, -pad], [0, 1, -pad], [0, 0, 1.0]])
    rows, columns, alpha = _warped(shadow.alpha, matrix @ laid @ unpadded, frame.shape[:2])
    if alpha is not None:
        kept = cv2.cvtColor(cv2.LUT(alpha, shadow.kept), cv2.COLOR_GRAY2RGB)
        frame[rows, columns] = cv2.multiply(frame[rows, columns], kept, scale=1 / 255)


def _warped(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice, np.ndarray | None]:
    """Rows and columns of a frame that a picture comes to lie in, and what it shows there (nothing: ``None``)."""
    import cv2

    height, width = picture.shape[:2]
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    corners = ((0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1))
    depths = [g * u + h * v + i for u, v in corners]
    x = [(a * u + b * v + c) / depth for (u, v), depth in zip(corners, depths, strict=True)]
    y = [(d * u + e * v + f) / depth for (u, v), depth in zip(corners, depths, strict=True)]
    left, top = max(0, math.floor(min(x)) - 1), max(0, math.floor(min(y)) - 1)
    right, bottom = min(size[1], math.ceil(max(x)) + 2), min(size[0], math.ceil(max(y)) + 2)
    if left >= right or top >= bottom:
        return slice(0), slice(0), None
    moved = matrix.copy()
    moved[0] -= left * matrix[2]
    moved[1] -= top * matrix[2]
    patch = cv2.warpPerspective(picture, moved, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return slice(top, bottom), slice(left, right), patch


def _lit(rng: np.random.Generator, cutout: np.ndarray) -> np.ndarray:
    """The cut-out in a light of its own, its colours multiplied by its alpha."""
    gain = rng.uniform(0.8, 1.12) * rng.uniform(0.95, 1.05, 3)
    colours = cutout[..., :3].astype(np.float32) * gain.astype(np.float32)
    alpha = cutout[..., 3:].astype(np.float32)
    premultiplied = np.minimum(colours, 255) * (alpha / 255) + 0.5
    return np.concatenate([premultiplied.astype(np.uint8), cutout[..., 3:]], axis=2)


def _crop(rng: np.random.Generator, photograph: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A part of the photograph, mirrored half of the time, as large as the camera may look around in."""
    import cv2

    wanted = tuple(round(n * (1 + 2 * _MARGIN)) for n in size)
    fits = min(photograph.shape[0] / wanted[0], photograph.shape[1] / wanted[1])
    zoom = fits * rng.uniform(0.5, 1.0)
    height, width = (max(8, int(n * zoom)) for n in wanted)
    top = int(rng.integers(0, photograph.shape[0] - height + 1))
    left = int(rng.integers(0, photograph.shape[1] - width + 1))
    part = photograph[top : top + height, left : left + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return cv2.resize(
        np.ascontiguousarray(part), wanted[::-1], interpolation=cv2.INTER_AREA if zoom > 1 else cv2.INTER_CUBIC
    )


def _draw_look(rng: np.random.Generator, size: tuple[int, int]) -> Look:
    gamma, gains = rng.uniform(0.8, 1.25), rng.uniform(0.92, 1.08, 3) * rng.uniform(0.85, 1.1)
    levels = np.clip(255 * (np.arange(256)[:, None] / 255) ** gamma * gains + 0.5, 0, 255).astype(np.uint8)
    blur_px = float(rng.uniform(0.4, 1.1)) if rng.random() < 0.5 else 0.0
    grain = None
    if rng.random() < 0.5:
        tile = np.rint(rng.normal(0, rng.uniform(1, 5), (_GRAIN_PX, _GRAIN_PX, 3))).astype(np.int16)
        repeats = (1 - -size[0] // _GRAIN_PX, 1 - -size[1] // _GRAIN_PX, 1)
        grain = np.tile(tile, repeats)[: size[0] + _GRAIN_PX, : size[1] + _GRAIN_PX]
    quality = int(rng.integers(50, 96)) if rng.random() < 0.7 else None
    return Look(levels[:, None], blur_px, grain, quality)
