"""Arrays as predictions: what their shape and type mean, and what must be said because it cannot be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import PredictionError, unknown_name
from ..structures import BINARY, Frames, FrameStack, Prediction
from ..structures.prediction import KINDS, Kind
from .label_values import LabelSet, LabelValues, resolve_classes

SUM_TOLERANCE = 1e-2  # float16 files of 71 classes stay well inside; independent sigmoids do not


def check_kind(kind: str | None) -> None:
    """Refuse a kind of scores that there is not, naming the nearest one."""
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of scores", kind, KINDS)


def as_frames(array: Any, source: str) -> Frames:
    """``(T, ...)`` frames over a numpy array, a memory map, a torch tensor, a sequence of arrays or a FrameStack.

    Nothing is copied as a whole: a tensor is moved from its device one frame at a time.

    Raises:
        PredictionError: not numbers, or arrays of several shapes.
    """
    if hasattr(array, "detach"):  # a torch tensor, told without importing torch
        floating = array.is_floating_point()
        if array.is_complex():
            raise PredictionError(f"{source}: a tensor of {array.dtype}; scores are floats, label maps integers.")
        return FrameStack(
            lambda t: (array[t].detach().float() if floating else array[t]).cpu().numpy(),
            num_frames=len(array) if array.ndim else 0,
            frame_shape=tuple(array.shape[1:]),
            dtype=np.float32 if floating else np.int64,
        )
    if isinstance(array, (list, tuple)):
        return _stacked(array, source)
    if not isinstance(array, Frames) or not hasattr(array, "dtype"):
        raise PredictionError(
            f"{source}: got a {type(array).__name__}; a prediction is read from a folder, an .npy, .npz or "
            ".safetensors file, a numpy array, a torch tensor, or one array a frame."
        )
    if np.dtype(array.dtype).kind not in "biuf":
        raise PredictionError(f"{source}: an array of {array.dtype}; scores are floats, label maps integers.")
    return array


def _stacked(arrays: list[Any] | tuple[Any, ...], source: str) -> Frames:
    """One frame an item, all of one shape and type."""
    items = [item.detach().cpu().numpy() if hasattr(item, "detach") else np.asarray(item) for item in arrays]
    forms = {(item.shape, str(item.dtype)) for item in items}
    if len(forms) != 1 or items[0].dtype.kind not in "biuf":
        raise PredictionError(f"{source}: a list holds one array a frame, all of one shape and type; got {forms}.")
    shape, dtype = items[0].shape, items[0].dtype
    return FrameStack(lambda t: items[t], num_frames=len(items), frame_shape=shape, dtype=dtype)


def prediction_from_array(
    array: Any,
    *,
    kind: Kind | None,
    values: LabelValues,
    classes: LabelSet,
    source: str,
    name_of: Callable[[int], str] | None = None,
) -> Prediction:
    """A prediction over an array, read one frame at a time.

    Args:
        array: label maps ``(T, H, W)`` or ``(T, 1, H, W)`` of integers or bools; or floating scores: ``(T, H, W)`` or
            ``(T, 1, H, W)`` of the foreground, ``(T, K+1, H, W)`` of the background and then each class.
        kind: of floating scores; integers are label maps.
        values: what the integers of label maps mean.
        classes: what the channels of scores mean; needed for more than one class.
        source: for messages.
        name_of: the file of frame t, for messages.

    Raises:
        PredictionError: another shape or type; a kind that is missing or does not fit; when a frame is read: values
            of no class, probabilities over the channels that do not sum to 1.
    """
    check_kind(kind)
    frames = as_frames(array, source)
    shape = tuple(frames.shape)
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise PredictionError(
            f"{source}: an array of the shape {shape}; label maps and foreground scores are (T, H, W), "
            "scores of K classes (T, K+1, H, W) with the background first, none of them empty."
        )
    if np.dtype(frames.dtype).kind == "f":  # type: ignore[attr-defined]
        return _scores(frames, kind, values, classes, source)
    return _label_maps(frames, kind, values, source, name_of)


def prediction_of_scores(
    frames: Frames,
    *,
    kind: Kind,
    class_ids: tuple[int, ...],
    names: Mapping[int, str] | None = None,
    source: str = "",
) -> Prediction:
    """Scores ``(T, H, W)`` or ``(T, 1, H, W)`` of one class's foreground, or ``(T, K+1, H, W)``, as a prediction.

    Raises:
        PredictionError: another number of channels than the classes have.
    """
    shape = tuple(frames.shape)
    channels, size = 1 if len(shape) == 3 else shape[1], shape[-2:]
    if channels == 1 and len(class_ids) == 1:
        plane = FrameStack(
            lambda t: np.asarray(frames[t]).reshape(size), num_frames=shape[0], frame_shape=size, dtype=np.float32
        )
        foreground = Prediction.from_foreground(plane, kind=kind, source=source)
        return replace(foreground, class_ids=class_ids, names=names or {})
    if channels != len(class_ids) + 1:
        missing = " The channel of the background is missing: put it first." if channels == len(class_ids) else ""
        raise PredictionError(
            f"{source}: {len(class_ids)} classes have {len(class_ids) + 1} channels with the background first, "
            f"(T, {len(class_ids) + 1}, H, W); got {shape}.{missing}"
        )
    return Prediction(scores=frames, kind=kind, class_ids=class_ids, names=names or {}, source=source)


def _scores(frames: Frames, kind: Kind | None, values: LabelValues, classes: LabelSet, source: str) -> Prediction:
    if kind not in ("probability", "logit"):
        said = (
            "label maps (kind='hard') are integers" if kind else "nothing says whether they are probabilities or logits"
        )
        raise PredictionError(
            f"{source}: floating scores, and {said}. Say kind='probability' (after the sigmoid or softmax) or "
            "kind='logit' (before it), their range does not tell; save label maps as integers."
        )
    if classes is None and values.class_ids != BINARY:
        raise PredictionError(
            f"{source}: ids= maps the values of label maps; for scores say classes={values.class_ids}."
        )
    shape = tuple(frames.shape)
    channels = 1 if len(shape) == 3 else shape[1]
    if classes is None and channels > 2:
        raise PredictionError(
            f"{source}: scores of {channels} channels {shape}, and nothing says which classes they are. Say "
            f"classes='avsbench' or the class ids of the channels after the background, as classes=range(1, {channels})."
        )
    class_ids, names = resolve_classes(classes)
    checked = _summed(frames, source) if kind == "probability" and channels > 1 else frames
    return prediction_of_scores(checked, kind=kind, class_ids=class_ids, names=names, source=source)


def _label_maps(
    frames: Frames, kind: Kind | None, values: LabelValues, source: str, name_of: Callable[[int], str] | None
) -> Prediction:
    if kind not in (None, "hard"):
        raise PredictionError(
            f"{source}: integers cannot be of kind '{kind}'. Scores are floating-point numbers (divide 8-bit "
            "probabilities by 255); for label maps leave kind= out."
        )
    shape = tuple(frames.shape)
    if len(shape) == 4 and shape[1] != 1:
        raise PredictionError(f"{source}: label maps are (T, H, W) or (T, 1, H, W) integers, got the shape {shape}.")

    def read(t: int) -> np.ndarray:
        where = name_of(t) if name_of else f"{source}, frame {t}"
        return values.labels(np.asarray(frames[t]).reshape(shape[-2:]), where)

    labels = FrameStack(read, num_frames=shape[0], frame_shape=shape[-2:], dtype=np.int16)
    return Prediction.from_labels(labels, class_ids=values.class_ids, names=values.names, source=source)


def _summed(frames: Frames, source: str) -> Frames:
    """The same frames, each refused when it is read and its channels do not sum to 1."""

    def read(t: int) -> np.ndarray:
        scores = np.asarray(frames[t], np.float32)
        _check_sum(scores, f"{source}, frame {t}")
        return scores

    return FrameStack(read, num_frames=len(frames), frame_shape=tuple(frames.shape[1:]), dtype=np.float32)


def _check_sum(scores: np.ndarray, where: str) -> None:
    total = scores.sum(axis=0)
    low, high = float(total.min()), float(total.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return  # Prediction.frame names these
    if low < 1 - SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
        raise PredictionError(
            f"{where}: the probabilities of a pixel sum to {low:.3g} at least and {high:.3g} at most over the channels; "
            "with the background they sum to 1. Independent sigmoids need the model's own rule for the background; "
            "logits need kind='logit'."
        )
