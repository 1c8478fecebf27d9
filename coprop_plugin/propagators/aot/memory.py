"""What a batch of sequences in lock step remembers: long-term frames, the last frames, and the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import CoPropError
from .layer import Entry, Memories

DEFAULT_MEMORY_FRAMES = 10


@dataclass(frozen=True)
class MemoryRule:
    """When a frame enters the long-term memory, and how many stay.

    Attributes:
        gap_frames: a frame enters when this many have passed since the last one that did.
        max_frames: frames kept at most, the first always among them (``None``: all, as published).
        skip_frames: the short-term memory is the frame this many back.
    """

    gap_frames: int
    max_frames: int | None = DEFAULT_MEMORY_FRAMES
    skip_frames: int = 1

    def __post_init__(self) -> None:
        if min(self.gap_frames, self.skip_frames, 1 if self.max_frames is None else self.max_frames) < 1:
            raise CoPropError(
                "the memory needs gap_frames, skip_frames and max_frames of at least 1, got "
                f"{self.gap_frames}, {self.skip_frames} and {self.max_frames}."
            )


class Memory:
    """The recurrent state of B sequences: every tensor in it has B rows.

    Entries of long-term frames lie side by side along the token axis; attention does not mind their order.

    Attributes:
        current: what each layer keeps of the frame in work, until its identity is known.
    """

    def __init__(self, rule: MemoryRule) -> None:
        self.rule = rule
        self.current: Sequence[Any] | None = None
        self.long_frames = 0
        self._time = self._last_insert = 0
        self._long: list[Entry] = []
        self._recent: deque[list[Entry]] = deque(maxlen=rule.skip_frames)

    def read(self) -> list[Memories]:
        """Long- and short-term memory of each layer."""
        return [Memories(long, short) for long, short in zip(self._long, self._recent[0], strict=True)]

    def step(self) -> None:
        """A frame goes by."""
        self._time += 1

    def add_reference(self, entries: list[Entry]) -> None:
        """A frame with a given mask: it enters the long-term memory and becomes the only recent one."""
        self._insert(entries)
        self._recent.clear()
        self._recent.append(entries)

    def add(self, entries: list[Entry]) -> None:
        """A frame with a predicted mask: it is recent, and enters the long-term memory when the gap has passed."""
        self._recent.append(entries)
        if self._time - self._last_insert >= self.rule.gap_frames:
            self._insert(entries)

    def keep_rows(self, num_rows: int) -> None:
        """Forget all sequences but the first ``num_rows``."""

        def cut(layers: Sequence[Any]) -> list[Any]:
            return [type(kept)(*(None if x is None else x[:num_rows] for x in kept)) for kept in layers]

        self._long = cut(self._long)
        self._recent = deque(map(cut, self._recent), maxlen=self.rule.skip_frames)
        self.current = None if self.current is None else cut(self.current)

    @property
    def num_bytes(self) -> int:
        """Bytes of all remembered tokens."""
        entries = [*self._long, *(entry for entries in self._recent for entry in entries)]
        return sum(tensor.numel() * tensor.element_size() for entry in entries for tensor in entry)

    def _insert(self, entries: list[Entry]) -> None:
        self._last_insert = self._time
        if self.rule.max_frames == 1 and self.long_frames:
            return
        full = self.long_frames == self.rule.max_frames
        if not self._long:
            self._long = entries
        else:
            self._long = [_joined(old, new, drop_second=full) for old, new in zip(self._long, entries, strict=True)]
        self.long_frames += not full


def _joined(old: Entry, new: Entry, *, drop_second: bool) -> Entry:
    """Both entries' tokens; if room is needed the second frame of the old ones, the oldest after the first, goes."""
    tokens = new.keys.shape[1]
    parts = [slice(0, tokens), slice(2 * tokens, None)] if drop_second else [slice(None)]
    return Entry(*(torch.cat([*(a[:, part] for part in parts), b], dim=1) for a, b in zip(old, new, strict=True)))
