"""A study on disk: its tables as JSON, and beside them what they are means of, a line a clip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files.atomic import atomic_write


def study_folder(folder: str | Path) -> Path:
    """The folder, made where it is missing; asked for before the work.

    Raises:
        CoPropError: it cannot be made.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CoPropError(f"-o {path}: no folder can be made there ({error.strerror}). Name another one.") from error
    return path


def write_study(folder: Path, told: Any, lines: Iterable[Mapping[str, Any]]) -> None:
    """``study.json``, what ``--json`` prints, and ``clips.jsonl``, an object a line; files of before are replaced."""
    with atomic_write(folder / "clips.jsonl", "w") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    with atomic_write(folder / "study.json", "w") as file:
        json.dump(told, file, indent=1)
