"""A study on disk: its tables as JSON, and beside them what they are means of, a line a clip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files import atomic_write, check_new_folder, locked

_PATIENCE_S = 60.0  # for another study that writes there; it takes well below a second


def study_folder(folder: str | Path) -> Path:
    """The folder, made where it is missing; asked for before the work.

    Raises:
        CoPropError: it cannot be made, or it is the working folder or one above it.
    """
    path = check_new_folder(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CoPropError(f"-o {path}: no folder can be made there ({error.strerror}). Name another one.") from error
    return path


def write_study(folder: Path, told: Any, lines: Iterable[Mapping[str, Any]]) -> None:
    """``study.json``, what ``--json`` prints, and ``clips.jsonl``, an object a line; files of before are replaced.

    Two studies that write to one folder do so one after the other, so that both files are of the later one.

    Raises:
        CoPropError: another run holds the folder for too long.
    """
    with locked(folder, patience_s=_PATIENCE_S):
        with atomic_write(folder / "clips.jsonl", "w") as file:
            for line in lines:
                file.write(json.dumps(line) + "\n")
        with atomic_write(folder / "study.json", "w") as file:
            json.dump(told, file, indent=1)
