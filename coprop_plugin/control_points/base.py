"""What a control-point generator is asked, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..errors import CoPropError
from ..structures import Clip, ControlPoints, Prediction


class ControlPointGenerator(ABC):
    """The sound of a clip in, the frames where the set of sounding objects changes out (paper section 3.2).

    A generator is asked with the call of one clip, or with :meth:`many`. It keeps nothing of a clip: the answer for one
    does not depend on those before it. Models that it loads are its own; it loads them when first asked.

    Attributes:
        name: what users call it; set by ``@part``.
        wants_base: it cannot do without the base model's prediction of all frames. Others are given it too where it
            is at hand, and may look at it.
        calls: questions that went to a model so far; ``None``: it asks none.
    """

    name: str = "unnamed"
    wants_base: bool = False
    calls: int | None = None

    @abstractmethod
    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """The control points of one clip.

        Args:
            clip: its ``sound`` (``(N,)`` samples at its own rate) and its ``time_base``. A generator with a grid of its
                own maps changes, in seconds, to frames by ``clip.time_base.flags_of_changes(times_s)``. Frames may be
                black pictures of one pixel: the command ``coprop points`` listens to sound files too.
            base: what the base model said of every frame; ``None`` where it has not been run.

        Returns:
            One flag a frame, ``(T,) bool``, the first true; with ``origin=Origin(self.name)``.

        Raises:
            CoPropError: the clip cannot be answered for, and why.
        """

    def many(self, clips: Sequence[Clip], *, bases: Sequence[Prediction | None] | None = None) -> list[ControlPoints]:
        """The control points of several clips, in order; a generator that can work in batches overrides this.

        Args:
            clips: all of them are in memory.
            bases: one a clip.
        """
        return [self(clip, base=base) for clip, base in zip(clips, bases or [None] * len(clips), strict=True)]


def check_points(points: ControlPoints, clip: Clip, *, by: str) -> ControlPoints:
    """The control points, if they are some, one flag a frame of the clip.

    Raises:
        CoPropError: they are not.
    """
    if not isinstance(points, ControlPoints):
        raise CoPropError(
            f"control points by {by}: a generator answers with ControlPoints, got {type(points).__name__}."
        )
    if len(points) != clip.num_frames:
        raise CoPropError(
            f"control points by {by}: {len(points)} flags, but clip '{clip.clip_id}' has {clip.num_frames} frames under "
            f"the sampling '{clip.time_base.sampling}'; there is one flag a frame."
        )
    return points
