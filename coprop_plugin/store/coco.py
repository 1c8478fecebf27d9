"""Masks as run lengths in JSON: COCO results and data sets, YouTube-VIS results and data sets (extra ``coco``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtra, PredictionError
from ..files import atomic_write, read_json
from ..files.schema import Either, Form, ListOf, Maybe, Number, Record, Text, Whole
from ..media.images import MAX_PIXELS
from ..structures import FrameStack, Prediction
from .label_values import MAX_VALUE, LabelValues

LIMIT_BYTES = 1 << 30
_ID = Either((Whole(0), Text(most=1000)))
_SIDE = Whole(1, MAX_PIXELS)
_RUN = Whole(0, MAX_PIXELS)
_RUNS = Record(
    needed={"size": ListOf(_SIDE, 2, 2), "counts": Either((Text(most=LIMIT_BYTES), ListOf(_RUN)))}, others=True
)
_SEGMENTATION = Maybe(
    Either((_RUNS, ListOf(ListOf(Number(), 6), 1)))
)  # run lengths, or polygons of three points or more
_ANNOTATION = Record(
    free={
        "image_id": _ID,
        "video_id": _ID,
        "category_id": Whole(0, MAX_VALUE),
        "score": Number(),
        "segmentation": _SEGMENTATION,
        "segmentations": Maybe(ListOf(_SEGMENTATION)),
    },
    others=True,
)
_SIDES: dict[str, Form] = {"height": _SIDE, "width": _SIDE}
_IMAGE = Record(needed={"id": _ID}, free={"file_name": Text(), **_SIDES}, others=True)
_VIDEO = Record(needed={"id": _ID}, free={"name": Text(), "file_names": ListOf(Text()), **_SIDES}, others=True)
_DATA_SET = Record(
    needed={"annotations": ListOf(_ANNOTATION)}, free={"images": ListOf(_IMAGE), "videos": ListOf(_VIDEO)}, others=True
)
_FAR = (
    8  # sides of the picture that a polygon may reach beyond it; the library draws each step there, and crashes far off
)


@dataclass(frozen=True)
class _Piece:
    """One object in one frame: its value in the label map, its rank (higher is painted later), its run lengths."""

    value: int
    score: float
    segmentation: Any


def read_coco(path: Path, *, values: LabelValues, clip_id: str | None, objects: bool) -> Prediction:
    """The masks of one clip in a JSON file of COCO or YouTube-VIS form.

    In COCO's form the images are the frames, in the order of their ids (of a data set: of their file names). Where
    objects overlap, the one with the higher score is on top. For binary masks every object is foreground; else the
    category is the file's value, or with ``objects`` each object (YouTube-VIS) has an id of its own, from 1 on.

    Raises:
        PredictionError: JSON of another form, several videos and none is the clip, run lengths that are none.
        MissingExtra: ``pycocotools`` is not installed.
    """
    data = read_json(path, what="masks in JSON", limit_bytes=LIMIT_BYTES)
    frames = _frames(data, path, clip_id, values, objects=objects)
    size = _size_of(frames, data, path)
    if objects:
        found = sorted({piece.value for pieces in frames for piece in pieces}) or [1]
        values = LabelValues(tuple(found), {0: 0, **{v: v for v in found}})

    def read(t: int) -> np.ndarray:
        painted = np.zeros(size, np.int32)
        for piece in sorted(frames[t], key=lambda p: p.score):
            mask = decoded(piece.segmentation, size, f"{path}, frame {t}")
            painted[mask] = piece.value
        return values.labels(painted, f"{path}, frame {t}")

    labels = FrameStack(read, num_frames=len(frames), frame_shape=size, dtype=np.int16)
    return Prediction.from_labels(labels, class_ids=values.class_ids, names=values.names, source=str(path))


def _frames(data: Any, path: Path, clip_id: str | None, values: LabelValues, *, objects: bool) -> list[list[_Piece]]:
    """The objects of each frame."""
    form = _DATA_SET if isinstance(data, Mapping) else ListOf(_ANNOTATION)
    if fault := next(form.faults(data, ""), None):
        raise PredictionError(
            f"{path}: is JSON, but neither COCO nor YouTube-VIS: these are a list of results with 'segmentation' or "
            f"'segmentations', or a mapping with 'annotations'. Here {fault}."
        )
    annotations = data["annotations"] if isinstance(data, Mapping) else data
    binary = len(values.class_ids) == 1 and not values.own

    def value(row: Mapping[str, Any], index: int) -> int:
        return index if objects else 1 if binary else _whole(row.get("category_id", 1), path)

    if (annotations and "segmentations" in annotations[0]) or (isinstance(data, Mapping) and "videos" in data):
        rows = _of_video(data, annotations, path, clip_id)
        count = max((len(row.get("segmentations") or ()) for row in rows), default=0)
        frames: list[list[_Piece]] = [[] for _ in range(count)]
        for index, row in enumerate(rows, start=1):
            for t, segmentation in enumerate(row.get("segmentations") or ()):
                if segmentation is not None:
                    frames[t].append(_Piece(value(row, index), float(row.get("score", 1.0)), segmentation))
    else:
        order = _image_order(data, annotations, path)
        frames = [[] for _ in order]
        ranks: dict[Any, int] = {}
        for row in annotations:
            if row.get("image_id") not in order:
                raise PredictionError(
                    f"{path}: an annotation names the image {row.get('image_id')!r}, and there is none."
                )
            t = order[row["image_id"]]
            ranks[t] = ranks.get(t, 0) + 1
            frames[t].append(_Piece(value(row, ranks[t]), float(row.get("score", 1.0)), row.get("segmentation")))
    if not frames:
        raise PredictionError(f"{path}: holds no frames.")
    return frames


def _of_video(data: Any, annotations: Sequence[Any], path: Path, clip_id: str | None) -> list[Any]:
    """The annotations of the video that is meant: the only one, or that of the clip's name."""
    ids = list(dict.fromkeys(row.get("video_id") for row in annotations))
    videos = data.get("videos", []) if isinstance(data, Mapping) else []
    if len(ids) <= 1:
        return list(annotations)
    named = [
        video.get("id")
        for video in videos
        if clip_id in (video.get("name"), Path(str((video.get("file_names") or [""])[0])).parent.name)
    ]
    wanted = named[0] if len(named) == 1 else clip_id if clip_id in ids else None
    if wanted is None:
        raise PredictionError(
            f"{path}: holds {len(ids)} videos ({', '.join(map(str, ids[:5]))}), and none is known as the clip "
            f"'{clip_id}'; keep the results of one video in a file."
        )
    return [row for row in annotations if row.get("video_id") == wanted]


def _image_order(data: Any, annotations: Sequence[Any], path: Path) -> dict[Any, int]:
    """Image id -> frame. Without a list of images the ids are the frames' numbers, from 0 or 1."""
    images = data.get("images") if isinstance(data, Mapping) else None
    if images:
        ordered = sorted(images, key=lambda image: (str(image.get("file_name", "")), str(image.get("id"))))
        return {image.get("id"): t for t, image in enumerate(ordered)}
    ids = [_whole(row.get("image_id"), path) for row in annotations]
    first = min(min(ids, default=0), 1)
    if max(ids, default=0) > 10_000_000:
        raise PredictionError(
            f"{path}: image ids up to {max(ids)} are no frame numbers; give the data set with 'images'."
        )
    return {k: k - first for k in range(first, max(ids, default=first - 1) + 1)}


def _size_of(frames: Sequence[Sequence[_Piece]], data: Any, path: Path) -> tuple[int, int]:
    sizes = {
        tuple(p.segmentation["size"])
        for pieces in frames
        for p in pieces
        if isinstance(p.segmentation, Mapping) and isinstance(p.segmentation.get("size"), list)
    }
    listed = [*data.get("images", []), *data.get("videos", [])] if isinstance(data, Mapping) else []
    sizes |= {(row["height"], row["width"]) for row in listed if {"height", "width"} <= set(row)}
    if len(sizes) != 1:
        raise PredictionError(f"{path}: the masks of a clip have one size; found {sorted(sizes)[:4] or 'none'}.")
    (size,) = sizes
    whole = len(size) == 2 and all(isinstance(x, int) and x > 0 for x in size)
    if not whole or size[0] * size[1] > MAX_PIXELS:
        raise PredictionError(f"{path}: the size {size} is none; it is [height, width] of at most {MAX_PIXELS} pixels.")
    return int(size[0]), int(size[1])


def _whole(value: Any, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PredictionError(f"{path}: ids of images and categories are whole numbers from 0 on, got {value!r}.")
    return value


def decoded(segmentation: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """``(H, W) bool`` of run lengths (compressed or listed) or polygons.

    Raises:
        PredictionError: they are none, or of another size.
    """
    masks = _library()
    try:
        if isinstance(segmentation, list):
            _check_polygons(segmentation, size)
            segmentation = masks.merge(masks.frPyObjects(segmentation, *size))
        elif isinstance(segmentation.get("counts"), list):
            if (
                not all(_RUN.fits(run) for run in segmentation["counts"])
                or sum(segmentation["counts"]) != size[0] * size[1]
            ):
                raise ValueError("the runs do not fill the picture")
            segmentation = masks.frPyObjects(segmentation, *size)
        else:
            packed = str(segmentation["counts"]).encode("ascii")
            _check_runs(packed, size[0] * size[1])
            segmentation = {"size": list(size), "counts": packed}
        return np.asarray(masks.decode(segmentation), bool)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, UnicodeError) as error:
        raise PredictionError(f"{where}: no run lengths of COCO ({error}).") from error


def _check_polygons(polygons: Sequence[Any], size: tuple[int, int]) -> None:
    """Raise a ``ValueError`` unless these are polygons near the picture: on others the library crashes, or draws nothing."""
    near = Number(-_FAR * max(size), _FAR * max(size))
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(near.fits, polygon)):
            raise ValueError("a polygon is a list of x, y of three points or more, none of them far off the picture")
    if not polygons:
        raise ValueError("a list without polygons")


def _check_runs(packed: bytes, pixels: int) -> None:
    """Raise a ``ValueError`` unless packed run lengths fill the picture; the library takes others for a mask too."""
    runs: list[int] = []
    value, shift = 0, 0
    for byte in packed:
        digit = byte - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if not 0 <= digit < 64 or shift > 60:
            raise ValueError("a character that is no part of them")
        if digit & 0x20:
            continue
        if digit & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift or min(runs, default=-1) < 0 or sum(runs) != pixels:
        raise ValueError("the runs do not fill the picture")


def write_coco(path: str | Path, prediction: Prediction) -> None:
    """COCO results: a row for each class that a frame shows; ``image_id`` is the frame, from 0.

    The first and the last frame always have a row, so that the file tells how many frames there are.
    """
    rows = [
        {"image_id": t, "category_id": c, "segmentation": _encoded(labels == c), "score": 1.0}
        for t, labels in enumerate(map(prediction.label_map, range(prediction.num_frames)))
        for c in prediction.class_ids
        if (labels == c).any() or (t in (0, prediction.num_frames - 1) and c == prediction.class_ids[0])
    ]
    _write(path, rows)


def write_youtube_vis(path: str | Path, prediction: Prediction, *, video_id: int = 1) -> None:
    """YouTube-VIS results: a row for each class, with run lengths or ``null`` for each frame."""
    maps = [prediction.label_map(t) for t in range(prediction.num_frames)]
    rows: list[dict[str, Any]] = [
        {
            "video_id": video_id,
            "category_id": c,
            "score": 1.0,
            "segmentations": [_encoded(labels == c) if (labels == c).any() else None for labels in maps],
        }
        for c in prediction.class_ids
        if any((labels == c).any() for labels in maps) or c == prediction.class_ids[0]
    ]
    if all(s is None for row in rows for s in row["segmentations"]):
        rows[0]["segmentations"][0] = _encoded(np.zeros(prediction.size, bool))  # an empty mask tells the size
    _write(path, rows)


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    packed = _library().encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode("ascii")}


def _write(path: str | Path, rows: Any) -> None:
    with atomic_write(path, "w") as file:
        json.dump(rows, file)
        file.write("\n")


def _library() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtra("pycocotools", "coco", "reading and writing COCO's run lengths") from error
    return mask
