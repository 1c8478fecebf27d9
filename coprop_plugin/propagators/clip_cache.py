"""What was computed of a clip that is in use, bounded in bytes; it goes with the clip."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from ..structures import Clip

V = TypeVar("V")


class ClipCache(Generic[V]):
    """Values by clip and key, least recently used first out, never more than ``limit_bytes``.

    A clip's values are let go when the clip is: over thousands of videos nothing is kept of those that are done.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0
        self._values: OrderedDict[tuple[int, Hashable], tuple[V, int]] = OrderedDict()
        self._clips: dict[int, weakref.ref[Clip]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, clip: Clip, key: Hashable) -> V | None:
        """The value, if it is kept."""
        held, place = self._clips.get(id(clip)), (id(clip), key)
        if held is None or held() is not clip or place not in self._values:
            return None
        self._values.move_to_end(place)
        return self._values[place][0]

    def put(self, clip: Clip, key: Hashable, value: V, *, num_bytes: int) -> None:
        """Keep a value; the oldest go where there is no room."""
        held = self._clips.get(id(clip))
        if held is None or held() is not clip:  # another clip may have taken a dead one's place in memory
            self._forget(id(clip))
            self._clips[id(clip)] = self._watched(clip)
        place = (id(clip), key)
        if place in self._values:
            self.held_bytes -= self._values.pop(place)[1]
        self._values[place] = value, num_bytes
        self.held_bytes += num_bytes
        while self.held_bytes > self.limit_bytes and self._values:
            self.held_bytes -= self._values.popitem(last=False)[1][1]

    def _watched(self, clip: Clip) -> weakref.ref[Clip]:
        cache, clip_key = weakref.ref(self), id(clip)

        def gone(dead: weakref.ref[Clip]) -> None:
            if (alive := cache()) is not None and alive._clips.get(clip_key) is dead:
                alive._forget(clip_key)

        return weakref.ref(clip, gone)

    def _forget(self, clip_key: int) -> None:
        self._clips.pop(clip_key, None)
        for place in [place for place in self._values if place[0] == clip_key]:
            self.held_bytes -= self._values.pop(place)[1]
