"""In which order the items of a data set are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError, CoPropError


class Sampler:
    """Endless epochs, each in an order of its own; the same seed gives the same items.

    Args:
        num_items: of the data set.
        batch: items a step; an epoch's last ones come together with the next epoch's first.
        seed: of the orders.
    """

    def __init__(self, num_items: int, *, batch: int, seed: int) -> None:
        if num_items < 1:
            raise CoPropError("there is nothing to train on: the data set is empty. Check its folder, split or seeds.")
        self._num_items, self._batch, self._seed = num_items, batch, seed
        self._drawn = 0
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def next(self) -> list[int]:
        """The items of the next step."""
        items = [self._item(self._drawn + i) for i in range(self._batch)]
        self._drawn += self._batch
        return items

    def _item(self, place: int) -> int:
        epoch, index = divmod(place, self._num_items)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._num_items)
        return int(self._order[index])

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs."""
        return {"num_items": self._num_items, "drawn": self._drawn}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler of the same data stood.

        Raises:
            CheckpointError: the data set had another number of items.
        """
        if state["num_items"] != self._num_items:
            raise CheckpointError(
                f"the saved training drew from {state['num_items']} items, the data set now holds {self._num_items}. "
                "Go on with the same data, or begin in a new folder."
            )
        self._drawn = int(state["drawn"])
