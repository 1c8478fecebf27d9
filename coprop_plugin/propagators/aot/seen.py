"""The encoder's maps of frames seen lately: a frame that several tasks cross is encoded once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...structures import Clip
from .encoders import Maps

# Bytes of maps that are kept: all frames of a benchmark's clip, and of a long video no more than its last ones.
KEPT_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}

FrameOf = tuple[Clip, int]  # a clip and the index of one of its frames


@dataclass(frozen=True, eq=False)
class _Block:
    """Frames that were encoded together. They are kept and given up together: nothing is copied."""

    maps: Maps

    @property
    def num_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self.maps)


class _Place(NamedTuple):
    clip: weakref.ref[Clip]  # the id of a clip may come again when the clip is gone
    block: _Block
    row: int


class SeenFrames:
    """Maps of single frames; those longest unused are given up first.

    What is kept of a clip does not depend on the clips before it, so neither do its masks.

    Args:
        encode: frames of one size, by clip and index, to their maps, ``(B, C, h, w)`` each.
        max_bytes: kept at most between two calls.
    """

    def __init__(self, encode: Callable[[Sequence[FrameOf]], Maps], *, max_bytes: int) -> None:
        self._encode, self._max_bytes = encode, max_bytes
        self._places: dict[tuple[int, int], _Place] = {}
        self._blocks: list[_Block] = []  # the one longest unused first

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return sum(block.num_bytes for block in self._blocks)

    def maps(self, wanted: Sequence[FrameOf]) -> Maps:
        """The maps of frames, ``(len(wanted), C, h, w)`` each; frames that are not kept are encoded together."""
        keys = [(id(clip), index) for clip, index in wanted]
        new = {key: frame for key, frame in zip(keys, wanted, strict=True) if not self._holds(key, frame)}
        if new:
            block = _Block(self._encode(list(new.values())))
            self._blocks.append(block)
            for row, (key, (clip, _)) in enumerate(new.items()):
                self._places[key] = _Place(weakref.ref(clip), block, row)
        places = [self._places[key] for key in keys]
        self._use(places)
        if len(new) == len(wanted):
            return block.maps
        rows = [[level[place.row : place.row + 1] for level in place.block.maps] for place in places]
        x4, x8, x16, top = (torch.cat(level) for level in zip(*rows, strict=True))
        return x4, x8, x16, top

    def _holds(self, key: tuple[int, int], frame: FrameOf) -> bool:
        place = self._places.get(key)
        return place is not None and place.clip() is frame[0]

    def _use(self, places: Sequence[_Place]) -> None:
        """Put the places' blocks last, and give up the first ones until the rest fits."""
        used = {id(place.block) for place in places}
        self._blocks.sort(key=lambda block: id(block) in used)
        while self._blocks and self.num_bytes > self._max_bytes:
            oldest = self._blocks.pop(0)
            self._places = {key: place for key, place in self._places.items() if place.block is not oldest}
