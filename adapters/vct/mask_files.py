"""Files of a clip's segments: which belong to its frames, and the masks that they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ...errors import PredictionError
from ...files import read_json
from ...masks.rle import decode_rle
from ...media.arrays import Npz, open_npy
from ...store.find import folder_of_clip
from ...store.frame_files import entries, frame_files
from ...structures import Clip, FrameStack
from .maskige import Masks

ARRAYS, CODES = (".npz", ".npy"), (".json",)
MAX_JSON_BYTES = 256 << 20
MOST_MASKS = 4096  # of a frame


class ClipFiles:
    """One file for each frame of a clip, in a folder or in its subfolder of that name."""

    def __init__(self, path: Path, *, suffixes: Sequence[str], tail: str = "") -> None:
        self._path, self._suffixes, self._tail = path, suffixes, tail
        self._latest: tuple[Clip, Sequence[Path]] | None = None

    def of(self, clip: Clip) -> Sequence[Path]:
        """The files, one a frame.

        Raises:
            PredictionError: no folder of the clip, holes, or another number of files than frames.
        """
        if self._latest is None or self._latest[0] is not clip:
            folder = place_of(self._path, clip.clip_id, self._suffixes)
            paths = frame_files(folder, suffixes=self._suffixes, tail=self._tail).paths
            check_count(len(paths), clip, f"{folder}")
            self._latest = clip, paths
        return self._latest[1]


def place_of(path: Path, clip_id: str, suffixes: Sequence[str]) -> Path:
    """The folder with a clip's files: ``path``, or below it the folder of that name (also in one of a category)."""
    inside = entries(path)
    folders = [p for p in inside if p.is_dir()]
    here = any(p.is_file() and p.suffix.lower() in suffixes for p in inside)
    return path if here or not folders else folder_of_clip(path, folders, clip_id)


def check_count(found: int, clip: Clip, where: str) -> None:
    """Raise a :class:`PredictionError` unless a clip has so many frames."""
    if found != clip.num_frames:
        raise PredictionError(
            f"{where}: Maskige of {found} frames, but clip '{clip.clip_id}' has {clip.num_frames} "
            f"(sampling {clip.time_base.sampling}). Every frame has its own."
        )


class SavedMasks:
    """Masks of each frame from files: ``(n, H, W)`` arrays, or COCO's run-length codes.

    A folder with one ``.npz``, ``.npy`` or ``.json`` a frame, or one file for the clip: ``<clip>.npz`` whose arrays are
    called by their frames (0, 1, …), or a COCO ``.json`` with images and annotations. A frame's JSON is a list of
    annotations, or holds one under ``annotations``; each has its code under ``segmentation``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: tuple[Clip, Callable[[int], Masks]] | None = None

    def __call__(self, clip: Clip, t: int) -> Masks:
        if self._latest is None or self._latest[0] is not clip:
            self._latest = clip, self._open(clip)
        return self._latest[1](t)

    def _open(self, clip: Clip) -> Callable[[int], Masks]:
        path = self._path
        if path.is_dir():
            own = [p for p in entries(path) if p.stem == clip.clip_id and p.suffix.lower() in (".npz", ".json")]
            path = own[0] if len(own) == 1 and not clip.clip_id.isdecimal() else path
        if path.is_file():
            return _clip_npz(path, clip) if path.suffix.lower() == ".npz" else _clip_json(path, clip)
        paths = ClipFiles(path, suffixes=(*ARRAYS, *CODES)).of(clip)
        return lambda t: _frame_masks(paths[t])


def _frame_masks(path: Path) -> Masks:
    if path.suffix.lower() in CODES:
        content = read_json(path, what="masks", limit_bytes=MAX_JSON_BYTES, error=PredictionError)
        return rle_masks(content.get("annotations") if isinstance(content, Mapping) else content, str(path))
    if path.suffix.lower() == ".npy":
        return checked(open_npy(path), str(path))
    npz = Npz(path)
    if len(npz.headers) != 1:
        raise PredictionError(f"{path}: holds the arrays {sorted(npz.headers)[:5]}; a frame's masks are one (n, H, W).")
    return checked(npz[next(iter(npz.headers))], str(path))


def _clip_npz(path: Path, clip: Clip) -> Callable[[int], Masks]:
    npz = Npz(path)
    names = {str(t) for t in range(clip.num_frames)}
    if set(npz.headers) != names:
        odd = sorted(names ^ set(npz.headers))
        raise PredictionError(
            f"{path}: the masks of a clip are arrays called by their frames, here 0 to {clip.num_frames - 1}; "
            f"missing or strange: {', '.join(odd[:5])}."
        )
    return lambda t: checked(npz[str(t)], f"{path}: '{t}'")


def _clip_json(path: Path, clip: Clip) -> Callable[[int], Masks]:
    """COCO's form: images in the order of their file names' numbers are the frames."""
    content = read_json(path, what="masks", limit_bytes=MAX_JSON_BYTES, error=PredictionError)
    parts = content if isinstance(content, Mapping) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    if not _records(images, "id", "file_name") or not _records(annotations, "image_id", "segmentation"):
        raise PredictionError(
            f"{path}: no COCO file: 'images' have an 'id' and a 'file_name', 'annotations' an 'image_id' and a "
            "'segmentation'."
        )
    check_count(len(images), clip, str(path))
    ordered = sorted(images, key=lambda image: _number(str(image["file_name"])))
    frame_of = {str(image["id"]): t for t, image in enumerate(ordered)}
    per_frame: list[list[Any]] = [[] for _ in ordered]
    for annotation in annotations:
        t = frame_of.get(str(annotation["image_id"]))
        if t is None:
            raise PredictionError(f"{path}: an annotation belongs to image {annotation['image_id']!r}, which is none.")
        per_frame[t].append(annotation)
    return lambda t: rle_masks(per_frame[t], f"{path}, frame {t}")


def _records(items: Any, *keys: str) -> TypeGuard[list[Mapping[str, Any]]]:
    return isinstance(items, list) and all(isinstance(item, Mapping) and item.keys() >= set(keys) for item in items)


def _number(name: str) -> tuple[int, str]:
    """The last number in a file's name, which is its frame."""
    digits = "".join(c if c.isdigit() else " " for c in Path(name).stem).split()
    return int(digits[-1][:18]) if digits else -1, name


def rle_masks(annotations: Any, where: str) -> Masks:
    """Annotations as masks that are unpacked one at a time.

    Raises:
        PredictionError: no list of annotations, too many of them, or masks of different sizes.
    """
    if not _records(annotations, "segmentation") or len(annotations) > MOST_MASKS:
        raise PredictionError(
            f"{where}: the masks of a frame are at most {MOST_MASKS} annotations, each with a 'segmentation'."
        )
    codes = [annotation["segmentation"] for annotation in annotations]
    if not codes:
        return []
    first = decode_rle(codes[0], what=f"{where}, mask 0")
    return FrameStack(
        lambda i: decode_rle(codes[i], what=f"{where}, mask {i}"),
        num_frames=len(codes),
        frame_shape=first.shape,
        dtype=bool,
    )


def checked(masks: np.ndarray, where: str) -> Masks:
    """Masks of a frame, if they are ``(n, H, W)``.

    Raises:
        PredictionError: another shape, too many of them, or floating numbers (which need a threshold).
    """
    if masks.ndim != 3 or len(masks) > MOST_MASKS or 0 in masks.shape[1:] or masks.dtype.kind not in "bui":
        raise PredictionError(
            f"{where}: {masks.dtype} {masks.shape}; the masks of a frame are (n, H, W) bools or integers, "
            f"at most {MOST_MASKS} of them."
        )
    return masks
