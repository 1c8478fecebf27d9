"""Where the masks of one clip lie: at the path itself, or below it in the folder of their video."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from ..errors import PredictionError
from . import manifest
from .frame_files import entries
from .object_folders import object_folders

IMAGES = (".png",)
ARRAYS = (".npy", ".npz", ".safetensors")
RUN_LENGTHS = (".json",)
VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
SINGLE = (*ARRAYS, *RUN_LENGTHS, *VIDEOS)  # one file for a clip
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin")


def find_prediction(path: Path, clip_id: str | None = None, *, objects: bool = False) -> Path:
    """The file or folder with the masks of one clip.

    ``path`` itself where it is a file, a result, or a folder with files of frames. In a folder of videos, as published
    code leaves it: ``<clip_id>/``, ``<category>/<clip_id>/`` or ``<clip_id>.npz``; without a clip the only video there.
    With ``objects`` numbered folders may be those of one clip's objects.

    Raises:
        PredictionError: nothing there, of another format, or more than one that could be meant.
    """
    if not path.exists():
        raise PredictionError(f"no saved masks at '{path}'.")
    if path.is_file():
        return _known(path)
    if manifest.is_ours(path):
        return path
    inside = entries(path)
    if clip_id is not None:
        named = [p for p in inside if p.is_file() and p.stem == clip_id]
        own_file = [p for p in named if p.suffix.lower() in ARRAYS] or [p for p in named if p.suffix.lower() in SINGLE]
        if own_file and not clip_id.isdecimal():  # 3.npy is frame 3, whatever the clip is called
            twice = [*own_file, *(p for p in inside if p.is_dir() and p.name == clip_id)]
            if len(twice) > 1:
                raise PredictionError(
                    f"{path}: the clip '{clip_id}' lies there {len(twice)} times: {', '.join(p.name for p in twice[:5])}. "
                    "Take one away, or name it."
                )
            return own_file[0]
    folders = [p for p in inside if p.is_dir()]
    if not folders or any(p.is_file() and p.suffix.lower() in (*IMAGES, *ARRAYS) for p in inside):
        return path
    if objects and clip_id not in [p.name for p in folders] and object_folders(path):
        return path
    if clip_id is None:
        return _only(path, folders)
    return folder_of_clip(path, folders, clip_id)


def _known(path: Path) -> Path:
    suffix = path.suffix.lower()
    if suffix in SINGLE:
        return path
    if suffix in PICKLES:
        raise PredictionError(
            f"{path}: a pickle, which can run code when it is read. Save the array as .npy, .npz or .safetensors."
        )
    hint = " For masks as PNG give their folder." if suffix in IMAGES else ""
    raise PredictionError(f"{path}: the masks of a clip lie in one file of {', '.join(SINGLE)}.{hint}")


def _only(path: Path, folders: list[Path]) -> Path:
    if len(folders) > 1:
        raise PredictionError(
            f"{path}: holds the folders of {len(folders)} videos ({', '.join(p.name for p in folders[:5])}, …). "
            "Name one of them, or say which clip is meant with clip=."
        )
    return find_prediction(folders[0])


def folder_of_clip(path: Path, folders: list[Path], clip_id: str) -> Path:
    """The one of these folders, or of the folders in them, that has a clip's name.

    Raises:
        PredictionError: none has it (the nearest is named), or several.
    """
    found = [p for p in folders if p.name == clip_id] or [p for p in _below(folders) if p.name == clip_id]
    if len(found) == 1:
        return found[0]
    if found:
        raise PredictionError(
            f"{path}: clip '{clip_id}' lies there {len(found)} times: {', '.join(map(str, found[:5]))}."
        )
    names = [p.name for p in (*folders, *_below(folders))]
    near = difflib.get_close_matches(clip_id, names, n=1)
    raise PredictionError(
        f"{path}: no folder of the clip '{clip_id}'.{f' Did you mean {near[0]!r}?' if near else ''} "
        f"It holds {', '.join(names[:5])}{', …' if len(names) > 5 else ''}; give the folder of this clip's masks"
        + (", or classes='objects' if these are the folders of its objects." if object_folders(path) else ".")
    )


def _below(folders: list[Path]) -> Iterator[Path]:
    """The folders in folders, which then are categories."""
    return (p for folder in folders for p in entries(folder) if p.is_dir())
