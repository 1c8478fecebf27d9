"""The recurrence on a batch of sequences in lock step: reference, propagate, update."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .config import MAX_OBJECTS
from .grid import Grid
from .memory import Memory, MemoryRule
from .network import AOTNetwork, Features
from .objects import mask_unused


class Engine:
    """One network's recurrence; all state is in the :class:`Memory` that it is given.

    Args:
        network: the weights.
        rule: of the memories that :meth:`new_memory` makes; by default the model's published gap and a bounded ring.
    """

    def __init__(self, network: AOTNetwork, *, rule: MemoryRule | None = None) -> None:
        self.network = network
        self.rule = rule or MemoryRule(network.config.memory_gap)

    def new_memory(self) -> Memory:
        """The memory of sequences that begin now."""
        return Memory(self.rule)

    def reference(
        self, memory: Memory, features: Features, labels: Tensor, *, num_objects: int = MAX_OBJECTS
    ) -> Tensor:
        """A frame whose mask is given: remember it. Returns the decoder's tokens.

        Args:
            features: of B images.
            labels: ``(B, H, W) int64`` at network size, 0 background, 1.. objects, others no label.
            num_objects: the largest label of an object.
        """
        identity = self.network.identify(labels, features.audio, num_objects=num_objects)
        tokens, memory.current = self.network.propagate(
            features, self._grid(features), memories=None, identity=identity
        )
        memory.add_reference(self.network.LSTT.remember(memory.current, identity))
        return tokens

    def propagate(self, memory: Memory, features: Features) -> Tensor:
        """The next frame, read against the memory. Returns the decoder's tokens."""
        memory.step()
        tokens, memory.current = self.network.propagate(features, self._grid(features), memories=memory.read())
        return tokens

    def update(self, memory: Memory, features: Features, labels: Tensor, *, num_objects: int = MAX_OBJECTS) -> None:
        """Remember the frame in work with its mask, predicted or given; arguments as of :meth:`reference`."""
        assert memory.current is not None, "update follows propagate or reference"
        identity = self.network.identify(labels, features.audio, num_objects=num_objects)
        memory.add(self.network.LSTT.remember(memory.current, identity))

    def decode(self, tokens: Tensor, features: Features, num_objects: Sequence[int]) -> Tensor:
        """``(B, 11, H / 4, W / 4)`` logits; channels above a row's number of objects are -1e10."""
        logits = self.network.decode(tokens, features, self._grid(features), num_objects=max(num_objects))
        return mask_unused(logits, num_objects)

    def _grid(self, features: Features) -> Grid:
        return Grid.of(*features.grid_size, features.tokens.device)
