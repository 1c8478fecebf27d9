"""A library: a folder of things that can be seen and heard, with a table of what they are and which split they are in.

::

    objects/<class>/<name>/cutout.png       RGBA; without it the object is heard only (off-screen)
    objects/<class>/<name>/sound*.{wav,ogg,flac}
    distractors/<name>.png                  RGBA; never sound
    voices/<speaker>/*.{wav,ogg,flac}
    backgrounds/<name>.{jpg,png}
    library.json                            classes, and of each of the above: split, source, licence

An object of the class that the table calls the voices' class has no sounds of its own: a speaker of its split is heard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ...errors import CoPropError, unknown_name
from ...files import read_json
from ...files.schema import ListOf, MapOf, Maybe, Record, Switch, Text
from ...media.images import read_rgb, read_rgba
from ...structures import AVSBENCH_NAMES

Split = Literal["train", "val", "test"]
Group = Literal["objects", "distractors", "voices", "backgrounds"]
TABLE = "library.json"
FORMAT = "objects 1"
SOUND_SUFFIXES = (".wav", ".ogg", ".flac")
MAX_TABLE_BYTES = 16 << 20
_LINE = Record(free={"split": Text(), "class": Text(), "spoken": Switch()}, others=True)
_CLASS = Record(free={"avsbench": Maybe(Text()), "audioset": ListOf(Text())}, others=True)
LINES = Record(  # of the table, as far as it is there
    free={
        "format": Text(),
        "split_rule": Text(),
        "classes": MapOf(_CLASS),
        **{group: MapOf(_LINE) for group in get_args(Group)},
    },
    others=True,
)
_NAME = re.compile(r"[\w][\w .,()'+-]*", re.UNICODE)


@dataclass(frozen=True)
class Thing:
    """One object, distractor, speaker or background.

    Attributes:
        name: unique in its group; an object's is ``class/name``.
        split: where it may be used.
        picture: its cut-out or photograph.
        sounds: its recordings.
        class_name: of objects and distractors.
        spoken: it has a speaker's voice in place of sounds of its own.
    """

    name: str
    split: Split
    picture: Path | None = None
    sounds: tuple[Path, ...] = ()
    class_name: str = ""
    spoken: bool = False


@dataclass(frozen=True, eq=False)
class Library:
    """What lies in a library's folder; nothing is read before it is needed.

    Attributes:
        root: the folder.
        class_ids: class name -> id: AVSBench's where it has the class, others from 71 on in alphabetical order.
        audioset: class name -> AudioSet's names for it, where known.
        things: group -> all its things, ordered by name.
        split_rule: how the splits were drawn.
    """

    root: Path
    class_ids: Mapping[str, int]
    audioset: Mapping[str, tuple[str, ...]]
    things: Mapping[Group, tuple[Thing, ...]] = field(repr=False)
    split_rule: str = ""

    def of(self, group: Group, split: str) -> tuple[Thing, ...]:
        """The things of a group in a split, ordered by name.

        Raises:
            CoPropError: no such split.
        """
        if split not in get_args(Split):
            raise unknown_name("split", split, get_args(Split))
        return tuple(thing for thing in self.things[group] if thing.split == split)

    @property
    def names(self) -> dict[int, str]:
        """Class id -> name."""
        return {number: name for name, number in self.class_ids.items()}

    def counts(self) -> dict[str, dict[str, int]]:
        """Group -> split -> how many things."""
        return {g: {s: len(self.of(g, s)) for s in get_args(Split)} for g in get_args(Group)}


def open_library(root: str | os.PathLike[str]) -> Library:
    """The library in a folder.

    Raises:
        CoPropError: no ``library.json`` there, or one that does not fit the folder.
    """
    root = Path(root)
    table = _read_table(root)
    classes = table["classes"]
    things: dict[Group, tuple[Thing, ...]] = {}
    for group in get_args(Group):
        found = dict(scan(root, group))
        listed = table.get(group, {})
        if missing := sorted(set(listed) - set(found)):
            raise CoPropError(f"{root / TABLE}: names {group} that are not there: {', '.join(missing[:5])}.")
        if unlisted := sorted(set(found) - set(listed)):
            raise CoPropError(
                f"{root}: {group} without a line in {TABLE}: {', '.join(unlisted[:5])}; "
                f"'coprop data objects {root}' adds them."
            )
        things[group] = tuple(_thing(root, group, name, found[name], listed[name], classes) for name in sorted(found))
    others = sorted(name for name, told in classes.items() if not told.get("avsbench"))
    ids = {name: AVSBENCH_NAMES.index(told["avsbench"]) for name, told in classes.items() if told.get("avsbench")}
    ids |= {name: len(AVSBENCH_NAMES) + i for i, name in enumerate(others)}
    audioset = {name: tuple(told.get("audioset", ())) for name, told in classes.items()}
    return Library(root, ids, audioset, things, str(table.get("split_rule", "")))


def scan(root: Path, group: Group) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the files of everything of a group that lies in the folder: ``picture`` and ``sounds``."""
    folder = root / group
    if group == "distractors" or group == "backgrounds":
        suffixes = (".png",) if group == "distractors" else (".png", ".jpg", ".jpeg")
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() in suffixes:
                yield _named(path.stem, path), {"picture": path}
    elif group == "voices":
        for speaker in sorted(p for p in folder.glob("*") if p.is_dir()):
            yield _named(speaker.name, speaker), {"sounds": _sounds(speaker, "*")}
    else:
        for place in sorted(p for p in folder.glob("*/*") if p.is_dir()):
            picture = place / "cutout.png"
            name = f"{_named(place.parent.name, place)}/{_named(place.name, place)}"
            yield name, {"picture": picture if picture.is_file() else None, "sounds": _sounds(place, "sound*")}


def _sounds(folder: Path, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(p for p in folder.glob(pattern) if p.suffix.lower() in SOUND_SUFFIXES))


def _named(name: str, path: Path) -> str:
    if not _NAME.fullmatch(name):
        raise CoPropError(f"{path}: names in a library begin with a letter or digit and hold no special signs.")
    return name


def _thing(
    root: Path, group: Group, name: str, files: Mapping[str, Any], told: Any, classes: Mapping[str, Any]
) -> Thing:
    where = f"{root / TABLE}: {group} '{name}'"
    if told.get("split") not in get_args(Split):
        raise CoPropError(f"{where}: has no split; allowed: {', '.join(get_args(Split))}.")
    class_name = name.partition("/")[0] if group == "objects" else str(told.get("class", name))
    if group in ("objects", "distractors") and class_name not in classes:
        raise CoPropError(f"{where}: its class '{class_name}' is not among the classes of the table.")
    spoken = group == "objects" and bool(told.get("spoken", False))
    thing = Thing(name, told["split"], files.get("picture"), files.get("sounds", ()), class_name, spoken)
    if group in ("objects", "voices") and not thing.sounds and not spoken:
        raise CoPropError(f"{where}: has no sound file ({', '.join(SOUND_SUFFIXES)}).")
    return thing


def _read_table(root: Path) -> dict[str, Any]:
    path = root / TABLE
    if not path.is_file():
        raise CoPropError(
            f"{root}: is no library of objects (it has no {TABLE}). 'make objects' builds one from Debian packages, "
            f"'coprop data objects {root}' describes a folder of your own."
        )
    table: dict[str, Any] = read_json(path, form=LINES, what="a library's table", limit_bytes=MAX_TABLE_BYTES)
    if table.get("format") != FORMAT or "classes" not in table:
        raise CoPropError(f"{path}: is no table of a library; its 'format' is '{FORMAT}', and it has 'classes'.")
    for name, told in table["classes"].items():
        if told.get("avsbench") not in (None, *AVSBENCH_NAMES[1:]):
            raise CoPropError(f"{path}: class '{name}': 'avsbench' is null or one of AVSBench's names; got {told}.")
    return table


@lru_cache(maxsize=256)
def read_cutout(path: Path) -> np.ndarray:
    """``(H, W, 4) uint8``, cut to what is not transparent; read-only.

    Raises:
        MediaError: no PNG.
        CoPropError: all of it is transparent.
    """
    picture = read_rgba(path)
    rows, columns = (
        np.flatnonzero((picture[..., 3] >= 128).any(axis=1)),
        np.flatnonzero((picture[..., 3] >= 128).any(0)),
    )
    if not len(rows):
        raise CoPropError(f"{path}: nothing of it is opaque; a cut-out shows its object by its alpha.")
    picture = np.ascontiguousarray(picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    picture.flags.writeable = False
    return picture


@lru_cache(maxsize=48)
def read_background(path: Path) -> np.ndarray:
    """``(H, W, 3) uint8``; read-only.

    Raises:
        MediaError: no picture.
    """
    picture = read_rgb(path)
    picture.flags.writeable = False
    return picture
