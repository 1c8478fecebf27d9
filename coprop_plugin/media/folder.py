"""A folder of frames: which files they are, in which order, and that none is missing."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import MediaError
from ..files import leads_out

SUFFIXES = (".png", ".jpg", ".jpeg")
# `7.jpg`, `00007.jpg`, `<name>_7.png`, `<id>.mp4_7.png`: the frame number is what stands last.
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>[0-9]+)(?P<suffix>\.[A-Za-z]+)", re.DOTALL)


def frame_paths(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder in the order of their numbers, which run from 0 or 1 without a hole.

    Files that are no pictures (a sound, a text) are left alone.

    Raises:
        MediaError: no picture, one without a number, different names or formats, two files of one number, a missing
            frame (named), or a link that leads out of the folder.
    """
    pictures = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and not p.is_dir()
    )
    if not pictures:
        raise MediaError(
            f"{folder}: holds no frames. A folder of frames holds 0.jpg, 1.jpg, … (or png, or NAME_1.png)."
        )
    numbered: dict[int, re.Match[str]] = {}
    for path in pictures:
        if path.is_symlink() and leads_out(path, folder):
            raise MediaError(f"{path}: is a link that leads out of the folder and is not followed. Copy the file here.")
        match = _NUMBERED.fullmatch(path.name)
        if match is None:
            raise MediaError(
                f"{path}: has no frame number; frames are named as 0.jpg or NAME_1.png. Move it elsewhere."
            )
        if (other := numbered.setdefault(int(match["number"]), match)) is not match:
            raise MediaError(f"{folder}: {other.string} and {path.name} both are frame {int(match['number'])}.")
    for part in ("stem", "suffix"):
        forms = {match[part]: match.string for match in numbered.values()}
        if len(forms) > 1:
            raise MediaError(
                f"{folder}: {' and '.join(sorted(forms.values())[:2])} are not named alike; a folder holds the frames "
                "of one clip in one format."
            )
    _check_complete(folder, numbered)
    return tuple(folder / numbered[number].string for number in sorted(numbered))


def _check_complete(folder: Path, numbered: dict[int, re.Match[str]]) -> None:
    first, last = min(numbered), max(numbered)
    expected = min(first, 1)
    for number in sorted(numbered):
        if number != expected:
            like = numbered[first]
            name = f"{like['stem']}{expected:0{len(like['number'])}d}{like['suffix']}"
            raise MediaError(
                f"{folder}: the frame {name} is missing ({len(numbered)} frames from {first} to {last}; they are counted "
                "from 0 or 1 without a hole)."
            )
        expected += 1
