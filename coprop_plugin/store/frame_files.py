"""One file a frame: which files of a folder are its frames, in which order, and that none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PredictionError
from ..files import leads_out

# Published code writes `<video>_<k>.png`, `<k>.png` or `%05d.png`: the frame number is what stands last.
_NUMBERED = r"(?P<stem>.*?)(?P<number>[0-9]+){tail}(?P<suffix>\.[A-Za-z]+)"
_NOT_OURS = ("Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class FrameFiles:
    """The files of a clip's frames: ``paths[t]`` is frame t."""

    folder: Path
    paths: tuple[Path, ...]
    first_index: int

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, t: int) -> str:
        """The file of frame t, for messages."""
        return str(self.paths[t])

    @property
    def suffix(self) -> str:
        return self.paths[0].suffix.lower()


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name; files of the desktop and hidden ones are left out.

    Raises:
        PredictionError: a link that leads out of the folder.
    """
    found = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.name not in _NOT_OURS]
    for path in found:
        if path.is_symlink() and leads_out(path, folder):
            raise PredictionError(
                f"{path}: a link that leads out of the folder, to '{path.readlink()}'; such links are not followed. "
                "Copy the file, or give the folder that it lies in."
            )
    return found


def frame_files(folder: Path, *, suffixes: Sequence[str], first_index: int | None = None, tail: str = "") -> FrameFiles:
    """The numbered files of a folder in the order of their frames.

    The numbers must run from 0 or from 1 without a hole (from ``first_index`` where it is given): the set that is
    there decides, no single name does.

    Args:
        tail: what stands between number and suffix (``3_mask_color.png``); files without it are then of no account.

    Raises:
        PredictionError: no such file, a hole, two files of one number, different names or formats beside each
            other, or a file that is no frame. The message names it.
    """
    files = [path for path in entries(folder) if not path.is_dir() and path.stem.endswith(tail)]
    frames, strange = _sorted_out(files, suffixes, tail)
    if not frames:
        raise PredictionError(
            f"{folder}: no frames here. A folder of frames holds numbered files ({', '.join(suffixes)}), as 0{tail}.png "
            f"or NAME_0{tail}.png; {f'found {_some(strange)}' if strange else 'it holds no file'}."
        )
    if strange:
        raise PredictionError(f"{folder}: beside the frames lies what is none: {_some(strange)}. Move it elsewhere.")
    for part, word in (("stem", "names"), ("suffix", "formats")):
        first_of = {match[part].lower(): path.name for path, match in reversed(frames)}
        if len(first_of) > 1:
            raise PredictionError(
                f"{folder}: files of different {word} lie beside each other: {_some(sorted(first_of.values()))}. "
                "A folder holds the frames of one clip in one format."
            )
    numbered: dict[int, Path] = {}
    for path, match in frames:
        number = int(match["number"])
        if number in numbered:
            raise PredictionError(f"{folder}: {numbered[number].name} and {path.name} both are frame {number}.")
        numbered[number] = path
    first = _first_index(folder, numbered, first_index)
    return FrameFiles(folder, tuple(numbered[k] for k in sorted(numbered)), first)


def _sorted_out(
    files: Sequence[Path], suffixes: Sequence[str], tail: str
) -> tuple[list[tuple[Path, re.Match[str]]], list[str]]:
    """The numbered files with their parts, and the names of the others."""
    frames, strange = [], []
    numbered = re.compile(_NUMBERED.format(tail=re.escape(tail)), re.DOTALL)
    for path in files:
        match = numbered.fullmatch(path.name)
        if match and match["suffix"].lower() in suffixes:
            frames.append((path, match))
        else:
            strange.append(path.name)
    return frames, strange


def _first_index(folder: Path, numbered: dict[int, Path], given: int | None) -> int:
    """Where the numbering begins, if it has no hole from there on."""
    low, high = min(numbered), max(numbered)
    first = given if given is not None else min(low, 1)
    if low < first:
        raise PredictionError(f"{folder}: {numbered[low].name} comes before first_index={first}.")
    holes = list(_holes(numbered, first))
    if not holes:
        return first
    if given is None and high - low + 1 == len(numbered):
        raise PredictionError(
            f"{folder}: the numbers run from {low} to {high}; frames are numbered from 0 or 1. "
            f"If {numbered[low].name} is the first frame, say first_index={low}."
        )
    raise PredictionError(
        f"{folder}: {len(numbered)} files numbered from {low} to {high}, but {_some(holes)} missing "
        f"(counted from {first}). Every frame has its file; an empty mask is a file of zeros."
    )


def _holes(numbered: dict[int, Path], first: int) -> Iterator[int]:
    """The missing numbers, found from the gaps so that a file named 999999999 costs nothing."""
    expected = first
    for number in sorted(numbered):
        yield from range(expected, min(number, expected + 100))
        expected = number + 1


def _some(names: Sequence[object], limit: int = 5) -> str:
    shown = ", ".join(map(str, names[:limit]))
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
