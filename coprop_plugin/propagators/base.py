"""What a propagator is asked, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import CoPropError
from ..structures import Clip

if TYPE_CHECKING:
    from ..weights.variants import Variant

Session = Literal["task", "clip"]


@dataclass(frozen=True, eq=False)
class PropagationTask:
    """Carry one mask through the frames ``[start, stop)`` of a clip, forwards and backwards from its anchor.

    Attributes:
        start, stop: the range of frames to answer for; it holds the anchor.
        anchor: the frame that the mask belongs to.
        mask: ``(K+1, H, W) float32``, probability in [0, 1], background first. K counts the objects of this
            task (classes or tracks: the propagator does not care), H and W may differ from the frames' size.
        categories: names of what sounds in the range, for propagators guided by text (``None``: not known).
        about: what the asker wants to find again beside the answer; no propagator looks at it.
    """

    start: int
    stop: int
    anchor: int
    mask: np.ndarray
    categories: tuple[str, ...] | None = None
    about: Any = None

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


Carried = tuple[PropagationTask, np.ndarray]  # a task and its (stop - start, K+1, H, W) masks


class Propagator(ABC):
    """Anchor masks, frames and sound in; masks of the other frames out (paper section 3.4).

    Every task begins with an empty memory. What is kept between tasks (encoded frames, flows) is the propagator's own,
    bounded, given up with its clip, and changes no answer.

    Attributes:
        name: what users call it; set by ``@part``.
        variants: the published layouts that it reads, for ``coprop checkpoint inspect``; none without weights.
        session: what a propagator holds open. ``"task"``: nothing beyond one task, so tasks of several clips may be
            mixed. ``"clip"``: a session over a clip's frames (as trackers of transformers have it), so all tasks of a
            clip are given in one call of :meth:`propagate`, one clip after the other; a session ends with its call.
    """

    name: str = "unnamed"
    variants: tuple[Variant, ...] = ()
    session: Session = "task"

    @abstractmethod
    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        """One ``(stop - start, K+1, H, W) float32`` probability array per task, in order, at the mask's size.

        Tasks are taken from the iterable as they are needed, so that a long clip's masks are never all held;
        an implementation may read ahead and work on several at once. At the anchor the mask itself comes back.

        Raises:
            CoPropError: a task outside the clip (:func:`check_range`).
        """

    def propagate_many(self, tasks: Iterable[tuple[Clip, PropagationTask]]) -> Iterator[np.ndarray]:
        """As :meth:`propagate`, for tasks of several clips; a propagator that can mix clips overrides this."""
        for _, of_clip in groupby(tasks, key=lambda pair: id(pair[0])):
            first = next(of_clip)
            yield from self.propagate(first[0], (task for _, task in chain([first], of_clip)))

    def carry(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[Carried]:
        """Each task with its masks, however far the propagator reads ahead.

        Raises:
            CoPropError: an answer of another shape than its task wants, too few answers, or too many.
        """
        waiting: deque[PropagationTask] = deque()

        def taken() -> Iterator[PropagationTask]:
            for task in tasks:
                waiting.append(task)
                yield task

        for masks in self.propagate(clip, taken()):
            if not waiting:
                raise CoPropError(f"the propagator '{self.name}' gave more answers than it took tasks.")
            task = waiting.popleft()
            wanted = (len(task), *task.mask.shape)
            if np.shape(masks) != wanted:
                raise CoPropError(
                    f"the propagator '{self.name}' answered frames [{task.start}, {task.stop}) of clip '{clip.clip_id}' "
                    f"with an array {np.shape(masks)}; the task wants {wanted}."
                )
            yield task, masks
        if waiting:
            raise CoPropError(f"the propagator '{self.name}' left {len(waiting)} tasks without an answer.")


def check_range(clip: Clip, task: PropagationTask) -> PropagationTask:
    """The task, if the clip has its frames."""
    if task.stop > clip.num_frames:
        raise CoPropError(
            f"clip '{clip.clip_id}' has {clip.num_frames} frames; a task asks for [{task.start}, {task.stop})."
        )
    return task


def both_ways(
    clip: Clip, task: PropagationTask, follow: Callable[[range], Iterable[tuple[int, np.ndarray]]]
) -> np.ndarray:
    """A task's ``(stop - start, K+1, H, W)`` masks: its own at the anchor, those of ``follow`` elsewhere.

    Args:
        clip: the task's.
        task: an empty mask stays as it is, and ``follow`` is not asked.
        follow: ``(t, mask)`` of the frames on one side of the anchor, away from it, at the mask's size.

    Raises:
        CoPropError: a task outside the clip.
    """
    check_range(clip, task)
    masks = np.empty((len(task), *task.mask.shape), np.float32)
    masks[:] = task.mask
    if not task.empty:
        for frames in (range(task.anchor + 1, task.stop), range(task.anchor - 1, task.start - 1, -1)):
            for t, mask in follow(frames) if frames else ():
                masks[t - task.start] = mask
    return masks
