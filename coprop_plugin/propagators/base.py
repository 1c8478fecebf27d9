"""What a propagator is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import CoPropError
from ..structures import Clip


@dataclass(frozen=True)
class PropagationTask:
    """Carry one mask through the frames ``[start, stop)`` of a clip, forwards and backwards from its anchor.

    Attributes:
        start, stop: the range of frames to answer for; it holds the anchor.
        anchor: the frame that the mask belongs to.
        mask: ``(K+1, H, W) float32``, probability in [0, 1], background first. K counts the objects of this
            task (classes or tracks: the propagator does not care), H and W may differ from the frames' size.
        categories: names of what sounds in the range, for propagators guided by text (``None``: not known).
    """

    start: int
    stop: int
    anchor: int
    mask: np.ndarray
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.anchor < self.stop:
            raise CoPropError(f"the anchor {self.anchor} must lie in the range [{self.start}, {self.stop}).")
        if self.mask.ndim != 3 or len(self.mask) < 2:
            raise CoPropError(f"a mask to propagate is (K+1, H, W) with the background first, got {self.mask.shape}.")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def empty(self) -> bool:
        """No pixel of the anchor mask is more likely an object than background: nothing to carry."""
        return not (self.mask[1:] > self.mask[0]).any()


class Propagator(Protocol):
    """Anchor masks, frames and sound in; masks of the other frames out (paper section 3.4)."""

    name: str

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        """One ``(stop - start, K+1, H, W) float32`` probability array per task, in order.

        Tasks are taken from the iterable as they are needed, so that a long clip's masks are never all held;
        an implementation may read ahead and work on several at once. At the anchor the mask itself comes back.
        """
        ...


def check_range(clip: Clip, task: PropagationTask) -> PropagationTask:
    """The task, if the clip has its frames."""
    if task.stop > clip.num_frames:
        raise CoPropError(
            f"clip '{clip.clip_id}' has {clip.num_frames} frames; a task asks for [{task.start}, {task.stop})."
        )
    return task
