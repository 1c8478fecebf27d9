"""A result folder that changes as a whole: old or new, never half of each, and never over what is not ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import CoPropError
from ..media.files import atomic_write
from . import manifest as run

STAGE = ".partial"


def check_output(folder: str | Path) -> Path:
    """The folder, if results may be written there: new, empty, or holding an earlier result.

    Raises:
        CoPropError: it is a file, or holds other things.
    """
    folder = Path(folder)
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise CoPropError(f"'{folder}' is a file; results need a folder.")
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others and not run.is_ours(folder):
        raise CoPropError(
            f"'{folder}' holds other things ({', '.join(others[:5])}{', …' if len(others) > 5 else ''}) and no "
            f"{run.NAME} of this project. Name a new or an empty folder."
        )
    return folder


@contextmanager
def output_folder(folder: str | Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """A staging folder to write in; when the block ends well, its files take the place of the earlier result's.

    On any error the earlier result stays as it was. ``run.json`` (the manifest and the list of files) is moved in
    last; a run that is killed while files move leaves one that says so, and is simply run again. Files that no
    result named are left alone.

    Raises:
        CoPropError: the folder holds other things, or links lead out of it.
    """
    target = check_output(folder)
    stage = target / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        files = sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())
        _write_manifest(stage, {**manifest, "complete": True, "files": files})
        _commit(stage, target, files)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _commit(stage: Path, target: Path, files: list[str]) -> None:
    earlier = _files_of(target)
    for name in {*files, *earlier}:
        _inside(target, name)
    _write_manifest(target, {"complete": False, "files": sorted({*files, *earlier})})
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).replace(target / name)
    for name in sorted(set(earlier) - set(files)):
        if (target / name).is_file():
            (target / name).unlink()
    (stage / run.NAME).replace(target / run.NAME)
    _remove_empty(target, earlier)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    with atomic_write(folder / run.NAME, "wb") as file:
        file.write(run.to_text({"format": run.FORMAT, **manifest}).encode())


def _files_of(target: Path) -> list[str]:
    """The files that the earlier result named; its manifest may come from anywhere, so the names are checked."""
    if not run.is_ours(target):
        return []
    named = run.load(target).get("files", [])
    return [str(name) for name in named] if isinstance(named, list) else []


def _inside(target: Path, name: str) -> None:
    parts = PurePosixPath(name)
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or not (target / name).parent.resolve().is_relative_to(target.resolve())
    ):
        raise CoPropError(f"'{target}': '{name}' leads out of the folder; results are not written through links.")


def _remove_empty(target: Path, names: Iterable[str]) -> None:
    """Folders that an earlier result left empty."""
    for parent in sorted({(target / name).parent for name in names} - {target}, reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
