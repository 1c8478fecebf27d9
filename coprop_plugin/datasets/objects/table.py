"""Writing a library's table: classes, splits by a stated rule, sources and licences."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ...files import atomic_write, read_json
from ...structures import AVSBENCH_NAMES
from .library import FORMAT, LINES, TABLE, Group, Library, Split, open_library, scan

SHARES: Mapping[Split, float] = {"train": 0.6, "val": 0.15, "test": 0.25}
SPLIT_RULE = (
    "In each group the names are ordered by the SHA-256 of 'group/name'; the i-th of n is in train where (i + 0.5) / n is "
    "below 0.60, in val below 0.75, else in test. Objects of AVSBench's classes with a picture, other objects with a "
    "picture, and objects that are heard only are ordered apart. Lines that name a split keep it."
)


def describe_library(root: str | os.PathLike[str], told: Mapping[str, Any] | None = None) -> Library:
    """Write ``library.json`` for what lies in a folder, and open it.

    Args:
        root: the folder, laid out as :mod:`.library` says.
        told: what is known of it: ``classes`` (name -> ``avsbench``, ``audioset``) and, for each group, name -> line
            (``split``, ``class``, ``spoken``, ``source``, ``licence``); by default the table that is there. Classes
            and lines that are missing are added, lines of things that are not there are left out.

    Raises:
        CoPropError: the folder does not hold what a library holds.
    """
    root, path = Path(root), Path(root) / TABLE
    if told is None:
        told = read_json(path, form=LINES, what="a library's table") if path.is_file() else {}
    groups: dict[str, dict[str, Any]] = {}
    for group in get_args(Group):
        lines = {name: dict(told.get(group, {}).get(name, {})) for name, _ in scan(root, group)}
        groups[group] = lines
    classes = {name: dict(line) for name, line in told.get("classes", {}).items()}
    used = {name.partition("/")[0] for name in groups["objects"]}
    used |= {str(line.get("class", name)) for name, line in groups["distractors"].items()}
    for name in used - set(classes):
        classes[name] = {"avsbench": name if name in AVSBENCH_NAMES[1:] else None, "audioset": []}
    classes = {name: line for name, line in sorted(classes.items()) if name in used}
    for group, lines in groups.items():
        for names in _strata(root, group, lines, classes):
            _split(group, names, lines)
    table = {"format": FORMAT, "split_rule": SPLIT_RULE, "classes": classes, **groups}
    with atomic_write(path, "w") as file:
        json.dump(table, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return open_library(root)


def _strata(root: Path, group: str, lines: Mapping[str, Any], classes: Mapping[str, Any]) -> list[list[str]]:
    """Names that are ordered and split together."""
    if group != "objects":
        return [list(lines)]
    strata: dict[str, list[str]] = {"benchmark": [], "other": [], "spoken": [], "heard": []}
    for name in lines:
        if lines[name].get("spoken"):
            strata["spoken"].append(name)
        elif not (root / "objects" / name / "cutout.png").is_file():
            strata["heard"].append(name)
        else:
            benchmark = classes[name.partition("/")[0]].get("avsbench")
            strata["benchmark" if benchmark else "other"].append(name)
    return list(strata.values())


def _split(group: str, names: Sequence[str], lines: dict[str, Any]) -> None:
    """Give every line of these names a split; see SPLIT_RULE."""
    free = [name for name in names if "split" not in lines[name]]
    ordered = sorted(free, key=lambda name: hashlib.sha256(f"{group}/{name}".encode()).hexdigest())
    for i, name in enumerate(ordered):
        place, below = (i + 0.5) / len(ordered), 0.0
        for split, share in SHARES.items():
            below += share
            if place < below:
                lines[name]["split"] = split
                break
        else:
            lines[name]["split"] = "test"
