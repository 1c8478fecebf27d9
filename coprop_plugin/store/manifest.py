"""run.json: what made a result. No time, host or absolute path in it, so equal runs give equal bytes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from ..errors import PredictionError
from ..files import read_json
from ..files.schema import Anything, ListOf, MapOf, Maybe, Record, Switch, Text, Whole
from ..version import __version__

NAME = "run.json"
FORMAT = "coprop-result/1"
MAX_BYTES = 64 << 20
_PREDICTION = Record(
    needed={
        "class_ids": ListOf(Whole(0, 1 << 31), least=1, most=1 << 16),
        "names": MapOf(Text()),
        "num_frames": Whole(1, 1 << 31),
        "scores": Text(),
        "own_labels": Switch(),
    },
    others=True,
)
_SEGMENT = Record(
    needed={"start": Whole(0), "stop": Whole(1)},
    free={
        "silent": Maybe(Switch()),
        "categories": Maybe(ListOf(Text())),
        "anchor": Maybe(Whole(0)),
    },
)
FORM = Record(
    needed={"format": Text((FORMAT,))},
    free={
        "complete": Switch(),
        "files": ListOf(Text()),
        "configuration": MapOf(Anything()),
        "inputs": MapOf(Record(needed={"name": Text(), "digest": Text()})),
        "clip": Record(free={"clip_id": Text(), "sampling": Text()}, others=True),
        "versions": MapOf(Text()),
        "segments": ListOf(_SEGMENT),
        "notes": ListOf(Text()),
        "prediction": _PREDICTION,
        "base": Maybe(_PREDICTION),
    },
    others=True,
)
_PACKAGES = ("torch", "numpy", "opencv-python", "av", "decord", "soundfile", "pillow", "scipy", "transformers")


@cache
def versions() -> Mapping[str, str]:
    """This package, Python and the packages that can change a number; only those installed."""
    found = {"coprop-plugin": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return MappingProxyType(found)


def digest_of(value: Mapping[str, Any]) -> str:
    """``sha256:…`` of what a manifest holds."""
    return f"sha256:{hashlib.sha256(to_text(value).encode('utf-8', 'surrogateescape')).hexdigest()}"


def digest(path: str | Path) -> str:
    """``sha256:…`` of a file, or of a folder's files and their relative names (hidden ones left out)."""
    path = Path(path)
    if path.is_dir():
        found = ((Path(place, name), name) for place, _, names in os.walk(path) for name in names)
        files = sorted(p for p, name in found if not name.startswith(".") and p.is_file())
        listing = "".join(f"{p.relative_to(path).as_posix()}\0{digest(p)}\n" for p in files)
        return f"sha256:{hashlib.sha256(listing.encode('utf-8', 'surrogateescape')).hexdigest()}"
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def plain(value: Any) -> Any:
    """A configuration as JSON holds it; absolute paths shrink to their last name, objects to their class and name."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith("/")):
        path = Path(value)
        return path.name if path.is_absolute() else path.as_posix()
    if isinstance(value, (str, Fraction)):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (Sequence, set, frozenset)):
        return [plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    name = getattr(value, "name", None)
    return {"class": type(value).__qualname__, **({"name": name} if isinstance(name, str) else {})}


def to_text(manifest: Mapping[str, Any]) -> str:
    """The bytes of run.json: sorted keys, one item a line."""
    return json.dumps(plain(manifest), indent=1, sort_keys=True) + "\n"


def is_ours(folder: Path) -> bool:
    """Whether a folder holds a result of this project, finished or not."""
    try:
        load(folder)
    except (PredictionError, OSError):
        return False
    return True


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The finished ``run.json`` of a result folder.

    Raises:
        PredictionError: none there, of another program, damaged, or of a run that did not finish.
    """
    manifest = load(Path(folder))
    if manifest.get("complete") is not True:
        raise PredictionError(f"{folder}: the run that wrote this did not finish; run the same command again.")
    return manifest


def load(folder: Path) -> dict[str, Any]:
    """The manifest of a result folder, finished or not; raises as :func:`read_manifest`."""
    path = folder / NAME
    if not path.is_file():
        raise PredictionError(f"{folder}: no {NAME} here, so this is no result folder of coprop.")
    told = read_json(path, what="a result's manifest", limit_bytes=MAX_BYTES, error=PredictionError, nan=True)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise PredictionError(f"{path}: not of the format '{FORMAT}'; it was written by something else.")
    if fault := next(FORM.faults(told, ""), None):
        raise PredictionError(f"{path}: {fault}; the result is damaged.")
    return cast("dict[str, Any]", told)
