"""A result folder that changes as a whole: old or new, never half of each, and never over what is not ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import CoPropError, PredictionError
from ..files import Folder, atomic_write, check_new_folder, locked, staged
from ..files.stage import PATIENCE_S
from ..media.images import IGNORED_VALUE
from . import manifest as run


def check_output(folder: str | Path) -> Path:
    """The folder, if results may be written there: new, empty, or holding an earlier result.

    Raises:
        CoPropError: it is a file, the working folder or one above it, or holds other things.
    """
    folder = check_new_folder(folder)
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


def check_storable(class_ids: Sequence[int]) -> None:
    """Raise a :class:`CoPropError` for classes that a mask file cannot hold; to be called before the work begins."""
    if (highest := max(class_ids)) >= IGNORED_VALUE:
        raise CoPropError(
            f"the class id {highest} does not fit in an 8-bit mask, which holds 1 to {IGNORED_VALUE - 1} "
            f"({IGNORED_VALUE} marks ignored pixels). Give the classes lower ids, as with ids={{{highest}: 1}} "
            f"(--ids {highest}:1)."
        )


@contextmanager
def output_folder(folder: str | Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """A staging folder to write in; when the block ends well, its files take the place of the earlier result's.

    On any error the earlier result stays as it was. ``run.json`` (the manifest and the list of files) is moved in
    last; a run that is killed while files move leaves one that says so, and is simply run again. Files that no
    result named are left alone. Two runs that write to one folder put their results together apart and move them in
    one after the other, so that the later one stands there whole.

    Raises:
        CoPropError: the folder holds other things, or links lead out of it.
    """
    target = check_output(folder)
    target.mkdir(parents=True, exist_ok=True)
    inside = Folder(target)
    with staged(inside) as stage:
        yield stage
        files = sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())
        _write_manifest(stage, {**manifest, "complete": True, "files": files})
        with locked(target, patience_s=PATIENCE_S):
            _commit(stage.name, inside, files)


def _commit(stage: str, target: Folder, files: list[str]) -> None:
    earlier = _files_of(target.path)
    for name in {*files, *earlier}:
        target.check(name)
    _write_manifest(target.path, {"complete": False, "files": sorted({*files, *earlier})})
    for name in files:
        target.move(f"{stage}/{name}", name)
    for name in sorted(set(earlier) - set(files)):
        if not target.is_folder(name):
            target.remove(name)
    target.move(f"{stage}/{run.NAME}", run.NAME)
    _remove_empty(target, earlier)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    with atomic_write(folder / run.NAME, "wb") as file:
        file.write(run.to_text({"format": run.FORMAT, **manifest}).encode())


def _files_of(target: Path) -> list[str]:
    """The files that the earlier result named; its manifest may come from anywhere, so the names are checked."""
    try:
        return [*run.load(target).get("files", [])]
    except (PredictionError, OSError):
        return []


def _remove_empty(target: Folder, names: Iterable[str]) -> None:
    """Folders that an earlier result left empty."""
    for parent in sorted({str(PurePosixPath(name).parent) for name in names} - {"."}, reverse=True):
        target.remove_empty(parent)
