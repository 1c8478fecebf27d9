"""Sequences that advance together, one frame a step, whatever their number of objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .config import MAX_OBJECTS
from .engine import Engine
from .network import Features
from .objects import UNUSED_LOGIT, merge_groups, num_groups, objects_of_group, split_labels


class LockStep:
    """R sequences from their anchors on. Each takes one row of the batch for every ten of its objects.

    Args:
        engine: the recurrence.
        features: of the R anchor frames.
        labels: ``(R, H, W) int64`` at network size: 0 background, 1..K objects.
        num_objects: K of each sequence. Sequences that end first must stand last (see :meth:`keep`).
    """

    def __init__(self, engine: Engine, features: Features, labels: Tensor, num_objects: Sequence[int]) -> None:
        self._engine, self._num_objects = engine, list(num_objects)
        self._memory = engine.new_memory()
        self._logits: Tensor | None = None
        self._features = self._of_rows(features)
        engine.reference(self._memory, self._features, self._split(labels), num_objects=self._most)

    def __len__(self) -> int:
        return len(self._num_objects)

    @property
    def _most(self) -> int:
        """The largest label that a row can see."""
        return min(MAX_OBJECTS, max(self._num_objects))

    @property
    def memory_bytes(self) -> int:
        """Bytes that the sequences remember."""
        return self._memory.num_bytes

    def step(self, features: Features) -> None:
        """Propagate to the next frame of every sequence."""
        self._features = self._of_rows(features)
        tokens = self._engine.propagate(self._memory, self._features)
        used = [objects_of_group(k, group) for k in self._num_objects for group in range(num_groups(k))]
        self._logits = self._engine.decode(tokens, self._features, used)

    def probability(self, size: tuple[int, int]) -> Tensor:
        """``(R, max K + 1, H, W) float32``: the step's masks at a size; channels that a sequence lacks are 0."""
        assert self._logits is not None, "step comes first"
        channels = max(self._num_objects) + 1
        if len(self._logits) == len(self):
            return self._engine.network.resize(self._logits[:, :channels], size).softmax(dim=1)
        merged = self._logits.new_full((len(self), channels, *size), UNUSED_LOGIT)
        groups = self._logits.split([num_groups(k) for k in self._num_objects])
        for sequence, (logits, k) in enumerate(zip(groups, self._num_objects, strict=True)):
            merged[sequence, : k + 1] = merge_groups(self._engine.network.resize(logits, size))[: k + 1]
        return merged.softmax(dim=1)

    def feed(self, labels: Tensor) -> None:
        """Remember the step with its ``(R, H, W)`` label maps at network size."""
        self._engine.update(self._memory, self._features, self._split(labels), num_objects=self._most)

    def keep(self, num_sequences: int) -> None:
        """Drop all sequences but the first ``num_sequences``."""
        if num_sequences < len(self):
            self._num_objects = self._num_objects[:num_sequences]
            num_rows = sum(map(num_groups, self._num_objects))
            self._memory.keep_rows(num_rows)
            self._features = self._features.rows(slice(num_rows))

    def _split(self, labels: Tensor) -> Tensor:
        """Each sequence's labels as its rows see them."""
        if all(num_groups(k) == 1 for k in self._num_objects):
            return labels
        return torch.cat([split_labels(part, k) for part, k in zip(labels, self._num_objects, strict=True)])

    def _of_rows(self, features: Features) -> Features:
        """Each sequence's features, once for each of its rows."""
        groups = [num_groups(k) for k in self._num_objects]
        if max(groups) == 1:
            return features
        repeats = torch.tensor(groups, device=features.tokens.device)
        return features.rows(torch.arange(len(groups), device=repeats.device).repeat_interleave(repeats))
