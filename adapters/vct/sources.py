"""Where ``maskige=`` says that the pictures of segments come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from ...parts import check, options_of
from ...store.frame_files import entries
from .mask_files import ARRAYS, CODES, SavedMasks
from .pictures import PICTURE, FromMasks, Grey, Pictures, Source
from .segmenter import Segmenter

NOT_GIVEN = (
    "the adapter 'vct' needs maskige=, the picture of segments beside every frame: a folder with the authors' pictures "
    "(NAME/0_mask_color.png), masks (npz, npy, COCO run-length JSON) or a SAM-family model of transformers; or "
    "maskige=grey, whose scores are not the published ones."
)


def open_source(given: Any, *, device: str = "auto") -> Source:
    """The source that ``maskige=`` names.

    Args:
        given: ``"grey"``; a folder or file, by what lies there (:class:`Pictures`, :class:`SavedMasks`, a model of
            transformers); ``{"model": FOLDER, …}`` with options of the segmenter; a function ``(clip, t)`` to masks
            ``(n, H, W)``; or a :class:`Source`.
        device: of a segmenter.

    Raises:
        CoPropError: nothing was named, or nothing usable lies there.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, Mapping):
        options = {"device": device, **given}
        check("the segmenter of maskige=", options, options_of(Segmenter))
        return Segmenter(**options)
    if callable(given):
        return FromMasks(given, about=f"Maskige: coloured from masks of {getattr(given, '__name__', 'a function')}")
    if given == "grey":
        return Grey()
    if not given:
        raise CoPropError(NOT_GIVEN)
    path = Path(given)
    if path.is_dir() and (path / "config.json").is_file():
        return Segmenter(model=path, device=device)
    kinds = _kinds(path)
    if kinds == {".png"}:
        return Pictures(path)
    if kinds & {*ARRAYS, *CODES} and ".png" not in kinds:
        return FromMasks(
            SavedMasks(path),
            about=f"Maskige: coloured from the masks of '{path.name}' (published scores had those of Semantic-SAM)",
        )
    raise CoPropError(
        f"maskige: nothing usable at '{path}': neither pictures (NAME/0_mask_color.png) nor masks (.npz, .npy, .json) "
        "nor a model's folder (config.json)."
    )


def _kinds(path: Path, depth: int = 2) -> set[str]:
    """Suffixes of what lies at a path that a source could read; of pictures those alone that are named as published."""
    if path.is_file():
        return {path.suffix.lower()} & {*ARRAYS, *CODES}
    found: set[str] = set()
    for entry in entries(path) if path.is_dir() else []:
        if entry.is_dir():
            found |= _kinds(entry, depth - 1) if depth and not found else set()
        elif entry.suffix.lower() in (*ARRAYS, *CODES) or entry.stem.endswith(PICTURE):
            found.add(entry.suffix.lower())
    return found
