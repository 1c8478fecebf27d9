"""Scenes on disk: object maps ``k.png`` and a JSON table of what sounds when."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CoPropError, MediaError
from ..files import read_json
from ..files.schema import ListOf, MapOf, Maybe, Record, Text, Whole
from ..media.folder import frame_paths
from ..media.images import read_label_values
from ..structures import AVSBENCH_NAMES, FrameStack
from .scene import Labelling, Scene

MAX_JSON_BYTES = 16 << 20
_OBJECT = Record(
    needed={"id": Whole(1, 1 << 15)},
    free={"name": Text(most=1000), "avsbench_index": Maybe(Whole(1, len(AVSBENCH_NAMES) - 1))},
    others=True,
)
_SCENE = Record(needed={"objects": ListOf(_OBJECT), "sounding_per_second": MapOf(ListOf(Whole(0, 1)))}, others=True)


def read_scene(
    instances: str | os.PathLike[str], description: str | os.PathLike[str], *, labelling: Labelling | None = None
) -> Scene:
    """A scene from a folder of object maps (``0.png``, …, values are object ids) and its description.

    The description is JSON with ``objects`` (each with ``id``, ``name`` and ``avsbench_index``, the class id or null)
    and ``sounding_per_second`` (object id -> one 0 or 1 a frame). Where an object has no AVSBench class, object ids
    stand for classes and the truth is binary.

    Args:
        instances: the folder.
        description: the JSON file.
        labelling: ``semantic`` or ``binary``; by default semantic where every object has a class.

    Raises:
        CoPropError: not such a description, or as many frames as it does not tell of.
        MediaError: missing or damaged object maps.
    """
    folder, table = Path(instances), _description(Path(description))
    classes, names, sounding = _objects(table, str(description))
    if labelling is None:
        labelling = "binary" if None in classes.values() else "semantic"
    if labelling == "semantic" and None in classes.values():
        raise CoPropError(f"{description}: objects without a class id have no semantic labels; use labelling='binary'.")
    known = {i: c for i, c in classes.items() if c is not None}
    object_class = known if len(known) == len(classes) else {i: i for i in classes}
    paths = frame_paths(folder)
    if len(paths) != len(sounding):
        raise CoPropError(f"{folder}: {len(paths)} object maps, but {description} tells of {len(sounding)} frames.")

    def read(t: int) -> np.ndarray:
        values = read_label_values(paths[t]).values
        if values.ndim != 2:
            raise MediaError(f"{paths[t]}: holds colours; object maps hold object ids.")
        return values

    stack = FrameStack(read, num_frames=len(paths), frame_shape=read(0).shape, dtype=np.uint8)
    return Scene(stack, object_class, sounding, labelling, {object_class[i]: n for i, n in names.items()}, str(folder))


def scene_description(scene: Scene) -> dict[str, Any]:
    """The description that :func:`read_scene` reads, with the control points beside it for people."""
    objects = [
        {"id": i, "name": scene.names.get(c, str(c)), "avsbench_index": c if c < len(AVSBENCH_NAMES) else None}
        for i, c in scene.object_class.items()
    ]
    sounding = {str(i): scene.sounding[:, column].astype(int).tolist() for column, i in enumerate(scene.object_ids)}
    points = scene.control_points().flags.astype(int).tolist()
    return {"objects": objects, "sounding_per_second": sounding, "control_points": points}


def _description(path: Path) -> Mapping[str, Any]:
    table: Mapping[str, Any] = read_json(path, form=_SCENE, what="a description of a scene", limit_bytes=MAX_JSON_BYTES)
    return table


def _objects(table: Mapping[str, Any], where: str) -> tuple[dict[int, int | None], dict[int, str], np.ndarray]:
    """Object id -> class id (or None), object id -> name, and ``(T, O) bool``, all in ascending order of ids."""
    classes: dict[int, int | None] = {}
    names: dict[int, str] = {}
    try:
        for entry in sorted(table["objects"], key=lambda e: int(e["id"])):
            object_id, index = int(entry["id"]), entry.get("avsbench_index")
            classes[object_id] = None if index is None else int(index)
            names[object_id] = str(entry.get("name", object_id)) if index is None else AVSBENCH_NAMES[int(index)]
        sounding = np.array([table["sounding_per_second"][str(object_id)] for object_id in classes]).T
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise CoPropError(f"{where}: its objects or their sounding seconds are not as expected ({error!r}).") from error
    if sounding.ndim != 2 or not np.isin(sounding, (0, 1)).all():
        raise CoPropError(f"{where}: 'sounding_per_second' holds one list of 0 and 1 an object, all of one length.")
    return classes, names, sounding.astype(bool)
