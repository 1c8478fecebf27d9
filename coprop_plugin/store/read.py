"""Saved predictions of every form: a result, a folder with one file a frame, or one file of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from ..errors import CoPropError, PredictionError, unknown_name
from ..structures import Prediction
from ..structures.prediction import Kind
from . import manifest
from .array_files import open_clip_array, open_frame_arrays
from .coco import read_coco
from .find import ARRAYS, IMAGES, RUN_LENGTHS, VIDEOS
from .frame_files import frame_files
from .label_folder import OffPalette, object_values, read_label_folder
from .label_values import OBJECTS, LabelSet, LabelValues, label_values
from .mask_video import read_mask_video
from .object_folders import object_folders, read_object_folders
from .result import read_result
from .score_arrays import check_kind, prediction_from_array
from .scores import is_score_file, read_scores


@dataclass(frozen=True)
class Said:
    """What the user said of saved files; more of each at ``read_prediction``.

    Attributes:
        kind: ``probability``, ``logit`` or ``hard``.
        ids: what the files hold -> class id, as ``{1: 11, 2: 41}``.
        classes: ``binary`` (the default), ``avsbench``, or the class ids.
        ignore: the value of ignored pixels, often 255.
        first_index: the number of the first file, where it is neither 0 nor 1.
        entry: the array to take from a file that holds several.
        off_palette: colours of no class: ``refuse``, or ``background``.

    Raises:
        CoPropError: an unknown kind or rule, or numbers out of range.
    """

    kind: Kind | None = None
    ids: Mapping[int, int] | None = None
    classes: LabelSet = None
    ignore: int | None = None
    first_index: int | None = None
    entry: str | None = None
    off_palette: OffPalette = "refuse"

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if self.first_index is not None and self.first_index < 0:
            raise PredictionError(f"first_index is the number of the first file, 0 or more; got {self.first_index}.")
        if self.off_palette not in get_args(OffPalette):
            raise unknown_name("off_palette option", self.off_palette, get_args(OffPalette))

    @property
    def objects(self) -> bool:
        """Each value is an object of its own, whichever values the files hold."""
        return self.classes == OBJECTS

    @cached_property
    def values(self) -> LabelValues:
        """What the integers of label maps mean; of objects only the files tell which there are."""
        if self.objects:
            if self.ids is not None:
                raise CoPropError(f"classes='{OBJECTS}' takes the ids of the files as they are; leave ids= out.")
            return label_values()
        return label_values(classes=self.classes, ids=self.ids, ignore=self.ignore)


def read_path(path: Path, said: Said, *, clip_id: str | None = None) -> Prediction:
    """The prediction at a path that :func:`find_prediction` gave; ``clip_id`` tells videos of one file apart.

    Raises:
        PredictionError: as the reader of each form; something said that files which speak for themselves deny.
    """
    if path.is_dir() and manifest.is_ours(path):
        return _as_said(read_result(path).prediction, said, path)
    if path.is_file() and is_score_file(path):
        return _as_said(read_scores(path), said, path)
    if path.is_file() and path.suffix.lower() in RUN_LENGTHS:
        return read_coco(path, values=said.values, clip_id=clip_id, objects=said.objects)
    if path.is_file() and path.suffix.lower() in VIDEOS:
        return read_mask_video(path)
    if path.is_dir() and said.objects and object_folders(path):
        return read_object_folders(path)
    if path.is_file():
        array, name_of = open_clip_array(path, said.entry), None
    else:
        files = frame_files(path, suffixes=(*IMAGES, *ARRAYS), first_index=said.first_index)
        if files.suffix in IMAGES:
            values = object_values(files) if said.objects else said.values
            return read_label_folder(files, values=values, kind=said.kind, off_palette=said.off_palette)
        array, name_of = open_frame_arrays(files, said.entry), files.name
    return prediction_from_array(
        array, kind=said.kind, values=said.values, classes=said.classes, source=str(path), name_of=name_of
    )


def _as_said(prediction: Prediction, said: Said, path: Path) -> Prediction:
    """A prediction that says itself what it is, if nothing else was said of it."""
    if said.kind not in (None, prediction.kind):
        raise PredictionError(f"{path}: holds scores of kind '{prediction.kind}', not '{said.kind}'; leave kind= out.")
    if said.classes is not None and said.values.class_ids != prediction.class_ids:
        raise PredictionError(f"{path}: holds the classes {prediction.class_ids}, not {said.values.class_ids}.")
    others = [f"{name}=" for name in ("ids", "ignore", "first_index", "entry") if getattr(said, name) is not None]
    if others:
        raise PredictionError(f"{path}: says itself what its files hold; leave out {', '.join(others)}.")
    return prediction
