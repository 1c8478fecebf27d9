"""One frame of a prediction beside its truth, both at the size where a protocol compares them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import PredictionError
from ..masks.labels import channel_map
from ..masks.probability import foreground_probability
from ..masks.resize import bilinear, nearest
from ..structures import Prediction


@dataclass(frozen=True)
class VideoInfo:
    """What a family knows of a video before its first frame.

    Attributes:
        video_id: a name for messages.
        num_frames: T.
        class_ids: the foreground classes of prediction and truth, ascending; ``(1,)`` where ``binary``.
        binary: one of the two tells foreground from background only, so both are read that way.
        flags: ``(T,) bool`` the predicted control points, ``None`` where none were given.
        truth_flags: ``(T,) bool`` the true ones, ``None`` where they follow from the truth's masks.
        frame_s: seconds from one frame to the next, ``None`` where unknown.
    """

    video_id: str
    num_frames: int
    class_ids: tuple[int, ...]
    binary: bool
    flags: np.ndarray | None = field(default=None, compare=False)
    truth_flags: np.ndarray | None = field(default=None, compare=False)
    frame_s: float | None = None


class FramePair:
    """Frame t of a prediction and of its truth; each view is made once, when it is asked for.

    Scores are resized bilinearly (logits before they become probabilities, as published models do), label maps and
    masks take the nearest pixel.

    Args:
        prediction, truth: of one video; the truth is ``hard``.
        t: the frame.
        info: the video.
        size: ``(height, width)`` of the comparison; ``None`` for the truth's own.
        raw: the same frame at another size, whose reading is shared.
    """

    def __init__(
        self,
        prediction: Prediction,
        truth: Prediction,
        t: int,
        info: VideoInfo,
        *,
        size: tuple[int, int] | None = None,
        raw: FramePair | None = None,
    ) -> None:
        self.prediction, self._truth, self.t, self.info = prediction, truth, t, info
        self.size = size or truth.size
        self._raw = raw
        self._counted: dict[Hashable, Any] = {}

    def counted(self, what: Hashable, count: Callable[[FramePair], Any]) -> Any:
        """``count(self)``, done once though several protocols ask for it under the same name."""
        if what not in self._counted:
            self._counted[what] = count(self)
        return self._counted[what]

    def at(self, size: tuple[int, int] | None) -> FramePair:
        """The same frame at another size; what was read is shared."""
        if (size or self._truth.size) == self.size:
            return self
        return FramePair(self.prediction, self._truth, self.t, self.info, size=size, raw=self._raw or self)

    @cached_property
    def truth(self) -> np.ndarray:
        """``(H, W) int16`` class ids, -1 where the truth is unknown; 1 for any object where ``info.binary``."""
        if self._raw is not None:
            return nearest(self._raw.truth, self.size)
        labels = self._truth.label_map(self.t)
        if self.info.binary and self._truth.class_ids != (1,):
            labels = np.minimum(labels, 1)
        return nearest(labels, self.size)

    @cached_property
    def valid(self) -> np.ndarray | None:
        """``(H, W) bool`` where the truth is known; ``None`` where it is known everywhere."""
        return None if self.truth.min() >= 0 else self.truth >= 0

    @property
    def has_truth(self) -> bool:
        """Whether any pixel's truth is known."""
        return self.valid is None or bool(self.valid.any())

    @cached_property
    def truth_mask(self) -> np.ndarray:
        """``(H, W) bool`` any object."""
        return self.truth > 0

    @property
    def hard(self) -> bool:
        return self.prediction.kind == "hard"

    @cached_property
    def _own_scores(self) -> np.ndarray:
        """``(K+1, h, w) float32`` at the prediction's own size, checked."""
        return self.prediction.frame(self.t) if self._raw is None else self._raw._own_scores

    @cached_property
    def scores(self) -> np.ndarray:
        """``(K+1, H, W) float32`` in the prediction's kind."""
        return bilinear(self._own_scores, self.size)

    @cached_property
    def probability(self) -> np.ndarray:
        """``(H, W) float32`` probability of any object."""
        return foreground_probability(self.scores, self.prediction.kind)

    @cached_property
    def mask(self) -> np.ndarray:
        """``(H, W) bool``: the model's own labels where it has them, else a probability above 0.5."""
        if self.prediction.labels is not None:
            return self._own_labels > 0
        return self.probability > 0.5

    @cached_property
    def labels(self) -> np.ndarray:
        """``(H, W) int16`` predicted class ids; 1 for any object where ``info.binary``."""
        if self.info.binary:
            return self.mask.astype(np.int16)
        if self.prediction.labels is not None:
            return self._own_labels
        ids = np.array((0, *self.prediction.class_ids), np.int16)
        return ids[channel_map(self.scores, self.prediction.kind)]

    @cached_property
    def _own_labels(self) -> np.ndarray:
        labels = nearest(self.prediction.label_map(self.t), self.size)
        if labels.min() < 0:
            raise PredictionError(
                f"{self.prediction.source or 'prediction'}: frame {self.t} holds negative labels; -1 is for a truth only."
            )
        return labels
