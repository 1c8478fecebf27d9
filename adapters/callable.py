"""Any function ``clip -> array`` as an adapter: the shortest way to plug a model in."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CoPropError, PredictionError
from ..parts import part
from ..store.label_values import LabelSet, label_values
from ..store.score_arrays import prediction_from_array
from ..structures import Clip, Prediction
from ..structures.prediction import Kind
from .base import Adapter, check_count, check_frames


@part("adapter", "callable", example="function=my_package.my_module:predict")
class CallableAdapter(Adapter):
    """A function of yours, ``clip -> array``.

    The array (numpy, torch, or a list with one array a frame) holds label maps ``(T, H, W)`` of integers, foreground
    scores ``(T, H, W)`` or ``(T, 1, H, W)``, or scores ``(T, K+1, H, W)`` with the background first. A function that takes
    ``frames=`` (a list of frame indices) answers for those alone and gives the adapter its frame mode.

    Args:
        function: the function, or ``"module:function"``, which is imported.
        kind: ``"probability"`` or ``"logit"`` for scores; not needed for label maps.
        class_ids: the classes of the channels or labels; binary without it, ``"avsbench"`` for AVSBench's 70.
        ids: what the integers of label maps mean, value -> class id.
        ignore: the value of ignored pixels in label maps.
        frame_equals_clip: whether the function gives the same for a frame alone as within its clip.
        name: what messages call it.

    Raises:
        CoPropError: no function, or classes that contradict ``ids``.
    """

    def __init__(
        self,
        function: Callable[..., Any] | str,
        *,
        kind: Kind | None = None,
        class_ids: LabelSet = None,
        ids: Mapping[int, int] | None = None,
        ignore: int | None = None,
        frame_equals_clip: bool | None = None,
        name: str = "callable",
    ) -> None:
        self._function = _imported(function) if isinstance(function, str) else function
        if not callable(self._function):
            raise CoPropError(f"the adapter 'callable' wraps a function, got a {type(function).__name__}.")
        self._values = label_values(classes=class_ids, ids=ids, ignore=ignore)
        self._classes, self._kind = class_ids, kind
        self.name = name
        self.kind = "logit" if kind == "logit" else "probability"  # a label map's 0 and 1 are probabilities too
        self.class_ids = self._values.class_ids
        self.frame_equals_clip = frame_equals_clip

    def predict(self, clip: Clip) -> Prediction:
        """The function's answer for the whole clip, checked.

        Raises:
            PredictionError: another shape, type or number of frames than described.
        """
        return check_count(self._checked(self._function(clip), f"{self.name} on clip '{clip.clip_id}'"), clip)

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """The function's answer for these frames alone; it must take ``frames=``."""
        if "frames" not in inspect.signature(self._function).parameters:
            return super().predict_frames(clip, frames)
        indices = check_frames(clip, frames)
        if not indices:
            return {}
        source = f"{self.name} on frames of clip '{clip.clip_id}'"
        answer = self._checked(self._function(clip, frames=indices), source)
        if answer.num_frames != len(indices):
            raise PredictionError(f"{source}: asked for {len(indices)} frames, got {answer.num_frames}.")
        return {t: answer.frame(i) for i, t in enumerate(indices)}

    def _checked(self, answer: Any, source: str) -> Prediction:
        if isinstance(answer, Prediction):
            return answer
        return prediction_from_array(answer, kind=self._kind, values=self._values, classes=self._classes, source=source)


def _imported(target: str) -> Any:
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise CoPropError(f"a function is named 'module:function', got '{target}'.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CoPropError(f"no function '{target}': {error}. The module must be importable from here.") from error
