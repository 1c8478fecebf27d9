"""Masks or scores that a model saved, read strictly: what the files do not say must be said, never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PredictionError
from ..masks.probability import probabilities
from ..parts import part
from ..store.find import find_prediction
from ..store.label_folder import OffPalette
from ..store.label_values import LabelSet
from ..store.read import Said, read_path
from ..store.score_arrays import prediction_from_array
from ..structures import Clip, Prediction
from ..structures.prediction import Kind
from .base import Adapter, check_count, check_frames


def read_prediction(
    source: Any,
    *,
    clip: Clip | None = None,
    kind: Kind | None = None,
    ids: Mapping[int, int] | None = None,
    classes: LabelSet = None,
    ignore: int | None = None,
    first_index: int | None = None,
    entry: str | None = None,
    off_palette: OffPalette = "refuse",
) -> Prediction:
    """Saved masks, probabilities or logits as a :class:`Prediction` that reads one frame at a time.

    Args:
        source: a folder with one file a frame (``0.png``, ``NAME_1.png``, ``00000.npy``; numbered from 0 or from 1);
            a folder of such folders, one a video (then ``clip`` says which); a folder that ``coprop`` wrote; one
            ``.npy``, ``.npz`` or ``.safetensors`` file; run lengths in the JSON of COCO or YouTube-VIS (extra
            ``coco``); a video of black and white masks; with ``classes="objects"`` a tree of one folder an object; an
            array or tensor ``(T, H, W)`` or ``(T, K+1, H, W)``.
        clip: the clip that the masks belong to; the number of frames must be the same.
        kind: ``probability`` or ``logit`` for floating scores; ``probability`` also for grey 8-bit PNGs, which are
            label maps otherwise. Files that ``coprop`` wrote say it themselves.
        ids: what the files hold -> class id, as ``{1: 11, 2: 41}``; 0 is the background unless it is mapped.
        classes: the label set: ``"binary"`` (the default), ``"avsbench"``, ``"objects"`` (each value in the files is
            an object of its own), or the class ids of channels and labels.
            Binary masks hold 0/255 or 0/1. Colour images are label maps in the palette of Pascal VOC and AVSBench.
        ignore: the value of ignored pixels (often 255); without it no value is ignored.
        first_index: the number of the first file, where it is neither 0 nor 1.
        entry: the array to take from an ``.npz`` or ``.safetensors`` file that holds several.
        off_palette: colours that are no class's: ``"refuse"``, or ``"background"`` as published loaders have it.

    Returns:
        The prediction; shapes, types and counts have been checked from the files' headers. Values are checked as
        each frame is read: a value that stands for no class is a ``PredictionError`` with file, value and count.

    Raises:
        PredictionError: no such files, holes or extra files, other shapes, a kind that is not said, links that lead
            out of the folder, another number of frames than the clip.
        MediaError: an image that is none, or too large.
    """
    said = Said(
        kind=kind,
        ids=ids,
        classes=classes,
        ignore=ignore,
        first_index=first_index,
        entry=entry,
        off_palette=off_palette,
    )
    values = said.values  # contradictions are found before any file is
    if isinstance(source, (str, Path)):
        clip_id = clip.clip_id if clip else None
        prediction = read_path(find_prediction(Path(source), clip_id, objects=said.objects), said, clip_id=clip_id)
    else:
        prediction = prediction_from_array(source, kind=kind, values=values, classes=classes, source="the array")
    return check_count(prediction, clip) if clip else prediction


@part("adapter", "saved_masks", takes=("store.read:Said",), example="path=preds/,kind=probability")
class SavedMasks(Adapter):
    """Masks, probabilities or logits that any model saved, as PNG, npy, npz or safetensors.

    Args:
        path: as ``source`` of :func:`read_prediction`; a folder of videos serves every clip by its id.
        options: the other arguments of :func:`read_prediction`.

    Raises:
        PredictionError: there is nothing at ``path``.
    """

    kind = "probability"
    frame_equals_clip = True

    def __init__(self, path: str | Path, **options: Any) -> None:
        self._path, self._options = Path(path), options
        self.class_ids = Said(**options).values.class_ids  # an option that there is not is found here
        if not self._path.exists():
            raise PredictionError(f"no saved masks at '{path}'.")

    def predict(self, clip: Clip) -> Prediction:
        """What is saved for this clip."""
        return read_prediction(self._path, clip=clip, **self._options)

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """The probabilities saved for these frames; only their files are read.

        Raises:
            PredictionError: a file that says itself which classes it holds, and they are others than ``classes=``.
        """
        indices = check_frames(clip, frames)
        saved = self.predict(clip)
        if saved.class_ids != self.class_ids:
            raise PredictionError(f"{self._path}: holds the classes {saved.class_ids}; say so with classes=.")
        return {t: probabilities(saved, t) for t in indices}
