"""Maskige: the picture of class-agnostic segments that VCT (and COMBO before it) sees beside every frame.

The published rule: masks sorted by area, the smallest has index 1; a pixel takes the index of the smallest mask that
covers it, 0 where none does; indices are coloured with the 150 colours of ADE20K. Index 0 is grey, not black, and
indices beyond the palette become black.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from PIL import Image

# ADE20K's colours of its 150 classes, in their order (red, green, blue)
_COLOURS = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
PALETTE = np.frombuffer(bytes.fromhex("".join(_COLOURS.split())), np.uint8).reshape(150, 3)
GREY = PALETTE[0]
_BY_INDEX = np.concatenate([PALETTE, np.zeros((256 - len(PALETTE), 3), np.uint8)])  # what Pillow makes of the palette
MOST_INDEX = len(_BY_INDEX) - 1  # of a palette PNG; all indices from 150 on are black


class Masks(Protocol):
    """Masks ``(H, W)`` of one frame: a list, an array ``(n, H, W)``, or anything that makes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def segment_indices(masks: Masks, size: tuple[int, int]) -> np.ndarray:
    """``(H, W) uint8``: the index of each pixel, by the published rule.

    Masks of equal area keep their order (the published sort leaves it open).

    Args:
        masks: of ``(H, W)``, not zero where a segment is; each is read twice, one at a time.
        size: H and W, which ``masks`` does not tell where there is none.
    """
    areas = np.array([np.count_nonzero(masks[i]) for i in range(len(masks))], int)
    indices = np.zeros(size, np.uint8)
    order = np.argsort(areas, kind="stable")
    for rank in reversed(range(len(order))):  # the smaller ones over the larger
        indices[np.asarray(masks[int(order[rank])]) != 0] = min(rank + 1, MOST_INDEX)
    return indices


def coloured(indices: np.ndarray) -> np.ndarray:
    """``(H, W, 3) uint8`` RGB of indices ``(H, W) uint8``."""
    return _BY_INDEX[indices]


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture ``(H, W, 3) uint8`` at another height and width; every pixel keeps a colour of the palette."""
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))
