"""Further sounds for the train part of a library: heard only, so that more is learned from; val and test stay as they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from .instruments import render_phrases
from .library import SOUND_SUFFIXES, Library
from .recordings import RATE_HZ, Recording, prepared

FAMILIES = (  # of General MIDI, eight programs each
    *("pianos", "chromatic percussion", "organs", "guitars", "basses", "strings", "ensembles", "brass"),
    *("reeds", "pipes", "synth leads", "synth pads", "synth effects", "ethnic", "percussive", "sound effects"),
)
VOICES_A_SPEAKER = 100
LEAST_VOICES = 15


@dataclass(frozen=True)
class Further:
    """Where further sounds are from.

    Attributes:
        sounds: folders of sound files; a file's class is the first word of its name, so that variants of one thing
            (``bear-1``, ``bear-2``) never play two sources of one clip.
        voices: folders that hold a folder for each speaker. One named as a speaker of another split is left out.
        soundfont: every General MIDI program of it that no object of another split plays.
    """

    sounds: Sequence[Path] = ()
    voices: Sequence[Path] = ()
    soundfont: Path | None = None


def lay_further(
    place: Path,
    told: dict[str, Any],
    further: Further,
    *,
    kept: Library,
    programs: Mapping[str, Sequence[int]],
    read: Callable[[Path], Recording | None],
    write: Callable[[Path, Recording], None],
) -> None:
    """Lay them into a library's folder, and a line for each into ``told``, of the train part.

    Args:
        place: the library's folder.
        told: as :func:`~.table.describe_library` takes it.
        further: where they are from.
        kept: what lies there already.
        programs: name of an object (without its class) -> the programs that it plays.
        read, write: a recording from a file (``None``: unusable), and to one.

    Raises:
        CoPropError: a folder without sounds.
    """
    for folder in further.sounds:
        line = {"split": "train", "source": folder.name, "licence": "the package's (see its copyright file)"}
        for path in _sound_files(folder):
            name = re.sub(r"[^\w-]+", "-", path.stem).strip("-_") or "sound"
            class_name = f"{re.split(r'[-_0-9]', name)[0] or 'sound'} (heard)"
            recording = read(path)
            if recording is not None and f"{class_name}/{name}" not in told["objects"]:
                write(place / "objects" / class_name / name / "sound.flac", recording)
                told["objects"][f"{class_name}/{name}"] = dict(line)
    apart = {speaker.name for speaker in kept.things["voices"] if speaker.split != "train"}
    for folder in further.voices:
        by_speaker: dict[str, list[Path]] = {}
        for path in _sound_files(folder):
            by_speaker.setdefault(path.relative_to(folder).parts[0], []).append(path)
        for speaker, paths in by_speaker.items():
            if speaker not in apart and len(paths) >= LEAST_VOICES:
                _lay_speaker(place, told, f"{folder.name}-{speaker}", paths, read, write)
    if further.soundfont is not None:
        trained = {thing.name.partition("/")[2] for thing in kept.of("objects", "train")}
        elsewhere = {program for name, some in programs.items() if name not in trained for program in some}
        line = {"split": "train", "source": f"rendered with {further.soundfont.name}", "licence": "the sound font's"}
        for program in sorted(set(range(128)) - elsewhere):
            name = f"{FAMILIES[program // 8]} (heard)/program {program}"
            recording = prepared(render_phrases(further.soundfont, program), RATE_HZ, name=name)
            write(place / "objects" / name / "sound.flac", recording)
            told["objects"][name] = dict(line)


def _lay_speaker(
    place: Path,
    told: dict[str, Any],
    name: str,
    paths: Sequence[Path],
    read: Callable[[Path], Recording | None],
    write: Callable[[Path, Recording], None],
) -> None:
    """Of a speaker's files so many, in the order of a hash of their names."""
    written = 0
    for path in sorted(paths, key=lambda p: hashlib.sha256(p.name.encode()).hexdigest()):
        recording = read(path) if written < VOICES_A_SPEAKER else None
        if recording is not None:
            write(place / "voices" / name / f"{written:03d}.flac", recording)
            written += 1
    if written:
        line = {"source": name.partition("-")[0], "licence": "the package's (see its copyright file)"}
        told["voices"][name] = {"split": "train", **line}


def _sound_files(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES) if folder.is_dir() else []
    if not found:
        raise CoPropError(f"{folder}: holds no sound files ({', '.join(SOUND_SUFFIXES)}).")
    return found
