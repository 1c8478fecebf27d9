"""The simplest propagator: the anchor mask stands still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..structures import Clip
from .base import PropagationTask, check_range


class Hold:
    """Repeat the anchor mask in every frame of the range: the lower bound for any propagator."""

    name = "hold"

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            check_range(clip, task)
            yield np.broadcast_to(task.mask, (len(task), *task.mask.shape))
