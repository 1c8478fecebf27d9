"""What the loop asks of whatever it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn


class Trainable(Protocol):
    """A module, its data and its loss.

    Attributes:
        module: what is trained; its whole ``state_dict`` is saved and restored.
        num_items: of its data set.
    """

    module: nn.Module
    num_items: int

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups; ``scale`` in a group multiplies the schedule's learning rate."""
        ...

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Any:
        """The data of some items; everything random is drawn from ``rng``. ``str()`` of it names the items."""
        ...

    def losses(self, batch: Any, *, progress: float) -> Mapping[str, Tensor]:
        """Scalars by name; ``loss`` is minimised, the others are logged.

        Args:
            progress: share of the training that is over, in [0, 1).
        """
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """What is published of the module, under the names that its users read."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Its resolved configuration; a training goes on only under the same one."""
        ...
