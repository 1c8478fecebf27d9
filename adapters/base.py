"""What a base model is to this project: a name, its classes, and two ways to ask it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CoPropError, PredictionError
from ..parts import build
from ..structures import BINARY, Clip, Prediction
from ..structures.prediction import Kind

if TYPE_CHECKING:
    from ..weights.variants import Variant

ASPECT_TOLERANCE = 0.05  # by which width to height of masks and video may differ without a word


class Adapter(ABC):
    """Turns a clip into a prediction; everything else of a model (its own sizes, its audio features) stays inside.

    Asked for whole clips (:meth:`predict`, :meth:`predict_clips`) or for single frames (:meth:`predict_frames`). The
    network is the adapter's own, loaded when it is made; it keeps nothing of a clip but what its predictions hold.

    Attributes:
        name: what ``build_adapter`` and ``--adapter`` call it; set by ``@part``.
        variants: the published layouts that it reads, for ``coprop checkpoint inspect``; none without weights.
        class_ids: the class of each foreground channel, as in :class:`Prediction`.
        kind: of the scores that ``predict_frames`` gives (``predict`` says it in its prediction).
        frame_equals_clip: whether ``predict_frames`` gives what ``predict`` gives at the same frames
            (``True`` where frames do not see each other, ``False`` where they do, ``None``: not known).
        notes: what whoever reads its scores must know; see :class:`Prediction`.
    """

    name: str = "unnamed"
    variants: tuple[Variant, ...] = ()
    class_ids: tuple[int, ...] = BINARY
    kind: Kind = "probability"
    frame_equals_clip: bool | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def predict(self, clip: Clip) -> Prediction:
        """The prediction of every frame of the clip (mode ``clip``).

        Args:
            clip: ``frames`` ``(T, H, W, 3) uint8``, ``sound`` ``(N,)`` samples at its own rate, ``time_base`` in seconds.

        Returns:
            ``scores (T, K+1, h, w) float32`` at the model's own size, of this ``kind``, or a hard prediction.

        Raises:
            CoPropError: the clip is none that the model can take, and why.
        """

    def predict_clips(self, clips: Sequence[Clip]) -> list[Prediction]:
        """The predictions of several clips; a model that runs in batches fills them across clips."""
        return [self.predict(clip) for clip in clips]

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """``{t: (K+1, H, W) float32}`` scores of the frames asked for alone (mode ``frame``), of this ``kind``.

        A model whose frames see each other is shown each of these frames, and its sound, as a clip of its own.

        Raises:
            CoPropError: this adapter cannot be asked frame by frame, or the clip has no such frame.
        """
        raise CoPropError(f"the adapter '{self.name}' cannot be run at single frames; use mode='clip'.")

    def notes_of(self, clip: Clip) -> tuple[str, ...]:
        """The notes on what it says of this clip: ``notes``, and what is particular to the clip."""
        return self.notes

    def keep_in(self, folder: str | Path) -> None:  # noqa: B027
        """Where what is costly to make on the way to a prediction may be kept for another run; most make nothing."""


def check_frames(clip: Clip, frames: Sequence[int]) -> list[int]:
    """The frame indices as integers, if the clip has them.

    Raises:
        CoPropError: an index outside ``[0, T)``.
    """
    indices = [int(t) for t in frames]
    outside = [t for t in indices if not 0 <= t < clip.num_frames]
    if outside:
        raise CoPropError(f"clip '{clip.clip_id}' has the frames [0, {clip.num_frames}); asked for {outside[:8]}.")
    return indices


def check_count(prediction: Prediction, clip: Clip) -> Prediction:
    """The prediction, if it has as many frames as the clip, and they do not lie on their side.

    Raises:
        PredictionError: it has not, or is none; the message says which sampling would fit. Or height and width are
            swapped.
    """
    if not isinstance(prediction, Prediction):
        raise PredictionError(f"an adapter answers with a Prediction, got {type(prediction).__name__}.")
    given, wanted = prediction.num_frames, clip.num_frames
    if given == wanted:
        check_sides(prediction, clip)
        return prediction
    duration_s = clip.time_base.duration_s
    raise PredictionError(
        f"{prediction.source or 'the prediction'}: {given} frames, but clip '{clip.clip_id}' has {wanted} "
        f"(sampling {clip.time_base.sampling}, {duration_s:g} s). If the masks are evenly spaced over the clip, read it "
        f"with sampling='uniform:{given / duration_s:.6g}'; if some of them are padding, leave those out."
    )


def check_sides(prediction: Prediction, clip: Clip) -> tuple[str, ...]:
    """A note where the masks have another shape than the video's frames, by more than ASPECT_TOLERANCE.

    Square masks of wide videos are usual (models that stretch their input) and allowed, and so are other shapes; but
    phones film lying down and say how the picture is turned: masks of the stored picture would be stretched silently.

    Raises:
        PredictionError: height and width of the masks are swapped.
    """
    (height, width), (tall, wide) = prediction.size, clip.size
    if math.isclose(width * tall, wide * height, rel_tol=ASPECT_TOLERANCE):
        return ()
    masks, video = f"{width}x{height} (width x height)", f"{wide}x{tall}"
    if math.isclose(width * wide, tall * height, rel_tol=ASPECT_TOLERANCE):
        raise PredictionError(
            f"{prediction.source or 'the prediction'}: the masks are {masks}, the video is shown {video}: the sides are "
            "swapped. The video is stored turned, as phones do; masks belong to the picture as it is shown. Turn the "
            "masks by 90 degrees (numpy.rot90), or run the model on frames that are turned."
        )
    return (
        f"the masks are {masks}, the video is {video}: another shape, by more than {ASPECT_TOLERANCE:.0%}; they are "
        "taken as stretched over the whole picture, not as a part of it",
    )


def build_adapter(name: str, **options: Any) -> Adapter:
    """Make an adapter by its name, ours or one that an installed package adds.

    A third party registers a class or function under the entry-point group ``coprop_plugin.adapters``.

    Raises:
        CoPropError: no adapter of this name (the nearest is named), an option that it does not take, or
            something registered under the name that is no :class:`Adapter`.
    """
    return build("adapter", {"name": name, **options})
