"""The colour of each class in pictures and charts."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

RGB = tuple[int, int, int]
GOLDEN_TURN = 0.381966  # of the colour circle: ids that follow each other get hues far apart

# Seven colours that stay apart under the common colour-vision deficiencies and are bright enough for dark frames
# (the Pascal-VOC map begins with a dark red that vanishes there).
FIRST_COLOURS: tuple[RGB, ...] = (
    (72, 190, 255),
    (255, 166, 0),
    (0, 214, 143),
    (245, 228, 66),
    (240, 120, 190),
    (255, 99, 58),
    (166, 140, 255),
)


def class_colours(class_ids: Sequence[int]) -> dict[int, RGB]:
    """A colour for each class id: the first seven get readable ones, the others hues a golden angle apart, all bright."""
    colours = {c: _bright(c * GOLDEN_TURN % 1, 0.9 if c % 2 else 0.6) for c in class_ids[len(FIRST_COLOURS) :]}
    return dict(zip(class_ids, FIRST_COLOURS, strict=False)) | colours


def _bright(hue: float, saturation: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def css_colour(colour: RGB) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
