"""The simplest propagator: the anchor mask stands still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..parts import part
from ..structures import Clip
from .base import PropagationTask, Propagator, check_range


@part("propagator", "hold")
class Hold(Propagator):
    """Repeat the anchor mask in every frame of the range: the lower bound for any propagator."""

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            check_range(clip, task)
            yield np.broadcast_to(task.mask, (len(task), *task.mask.shape))
