"""A library from what distributions package: Tux Paint's stamps, a General MIDI sound font, desktop backgrounds.

Nothing of them is part of this package: they are read from where they were unpacked (``make objects``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import CoPropError, MediaError
from ...files import atomic_write
from ...media.images import read_rgb, read_rgba
from .further import Further, lay_further
from .instruments import render_phrases
from .library import Library
from .recordings import LEAST_RECORDING_S, RATE_HZ, Recording, prepared
from .table import describe_library

CUTOUT_PX = 320  # longest side
BACKGROUND_PX = 800
VOICES_A_SPEAKER = 200
LEAST_CUTOUT_PX = 48
_SPOKEN = re.compile(r"(.+)_desc(?:_([a-zA-Z_]{2,5}))?")
Progress = Callable[[str], None]


def stamp_table() -> dict[str, Any]:
    """What is known of the stamps: their classes, which are drawn, which sounds are rendered."""
    return json.loads((files("coprop_plugin") / "data" / "stamps.json").read_text(encoding="utf-8"))


def build_library(
    root: str | os.PathLike[str],
    *,
    stamps: str | os.PathLike[str],
    soundfont: str | os.PathLike[str] | None = None,
    backgrounds: Sequence[str | os.PathLike[str]] = (),
    further: Further | None = None,
    progress: Progress = lambda text: None,
) -> Library:
    """A library at ``root``, whole or not at all: built beside it, then put in its place (an older one is replaced).

    Args:
        root: a folder that does not exist, is empty, or holds a library.
        stamps: the folder of ``tuxpaint-stamps-default`` that holds ``animals/``, or one above it.
        soundfont: a General MIDI sound font (``.sf2``); without one, instruments whose sounds must be rendered are
            left out. Rendering runs ``fluidsynth``.
        backgrounds: folders that are searched for photographs.
        further: sounds for the train part alone; without a picture.
        progress: told what is done.

    Raises:
        CoPropError: no stamps there, no photographs, ``fluidsynth`` missing or failing, or a folder with other things.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or (any(root.iterdir()) and not (root / "library.json").is_file())):
        raise CoPropError(f"{root}: holds something that is no library; name a new folder.")
    source = _stamps_folder(Path(stamps))
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-", ignore_cleanup_errors=True) as hidden:
        place = Path(hidden) / "library"
        table = stamp_table()
        told: dict[str, Any] = {"classes": table["classes"], "objects": {}, "distractors": {}, "voices": {}}
        progress("objects and distractors")
        _lay_stamps(place, source, table, told)
        progress("voices")
        _lay_voices(place, source, table, told)
        if soundfont is not None:
            progress("instruments")
            _lay_instruments(place, source, table, told, Path(soundfont))
        progress("backgrounds")
        told["backgrounds"] = _lay_backgrounds(place, backgrounds, table["no_photographs"])
        library = describe_library(place, told)
        if further is not None:
            progress("further sounds for training")
            programs = {Path(stamp).name: numbers for stamp, (_, numbers) in table["rendered"].items()}
            programs |= {name: numbers for name, (_, numbers) in table["heard"].items()}
            lay_further(place, told, further, kept=library, programs=programs, read=_recorded, write=_write_sound)
            describe_library(place, told)
        if root.exists():
            root.replace(Path(hidden) / "old")
        place.replace(root)
    return describe_library(root)


def _stamps_folder(folder: Path) -> Path:
    for path in (folder, folder / "stamps", folder / "usr/share/tuxpaint/stamps", folder / "tuxpaint/stamps"):
        if (path / "animals").is_dir():
            return path
    raise CoPropError(f"{folder}: holds no Tux Paint stamps (a folder 'animals'); 'make objects' fetches them.")


def _lay_stamps(place: Path, source: Path, table: Mapping[str, Any], told: dict[str, Any]) -> None:
    """Objects with sounds of their own, people, and everything else that is a photograph."""
    line = {"source": table["source"], "licence": table["licence"]}
    drawn = tuple(table["drawn"])
    taken = set(table["sounding"]) | set(table["rendered"]) | set(table["people"])
    for stamp, class_name in table["sounding"].items():
        recording = _recorded(source / f"{stamp}.ogg")
        if recording is None:
            continue
        name = f"{class_name}/{Path(stamp).name}"
        _write_sound(place / "objects" / name / "sound.flac", recording)
        if stamp not in drawn:
            _write_cutout(source / f"{stamp}.png", place / "objects" / name / "cutout.png")
        told["objects"][name] = dict(line)
    for stamp in table["people"]:
        name = f"person/{Path(stamp).name}"
        if _write_cutout(source / f"{stamp}.png", place / "objects" / name / "cutout.png"):
            told["objects"][name] = {"spoken": True, **line}
    for folder, common in table["silent_folders"].items():  # the narrower folders come first
        for path in sorted((source / folder).rglob("*.png")):
            stamp, name = str(path.relative_to(source).with_suffix("")), path.stem
            mirrored = name.endswith(("_mirror", "_flip", "_mirror_flip"))
            if mirrored or stamp in taken or stamp in drawn or stamp.startswith(tuple(f"{d}/" for d in drawn)):
                continue
            if name not in told["distractors"] and _write_cutout(path, place / "distractors" / f"{name}.png"):
                class_name = table["seen"].get(stamp) or common or name.replace("_", " ")
                told["distractors"][name] = {"class": class_name, **line}


def _lay_voices(place: Path, source: Path, table: Mapping[str, Any], told: dict[str, Any]) -> None:
    """The stamps' names, spoken: a language is a speaker. Of each so many, in the order of a hash of their names."""
    spoken: dict[str, list[Path]] = {}
    for path in source.rglob("*.ogg"):
        if (found := _SPOKEN.fullmatch(path.stem)) and "alphabets" not in path.parts:
            spoken.setdefault(found[2] or "en", []).append(path)
    for language, paths in sorted(spoken.items()):
        if len(paths) < 5 or len(language) != 2:
            continue
        paths.sort(key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())
        written = 0
        for path in paths:
            if written == VOICES_A_SPEAKER:
                break
            recording = _recorded(path)
            if recording is not None:
                _write_sound(place / "voices" / language / f"{path.stem.partition('_desc')[0]}.flac", recording)
                written += 1
        told["voices"][language] = {"source": table["source"], "licence": table["licence"]}


def _lay_instruments(
    place: Path, source: Path, table: Mapping[str, Any], told: dict[str, Any], soundfont: Path
) -> None:
    """Phrases from a sound font: a second sound of pictured instruments, and objects that are heard only."""
    line = {"source": f"rendered with {soundfont.name}", "licence": "the sound font's"}
    jobs: dict[str, list[int]] = {}
    for stamp, (class_name, programs) in table["rendered"].items():
        name = f"{class_name}/{Path(stamp).name}"
        if not (place / "objects" / name / "cutout.png").is_file() and not _write_cutout(
            source / f"{stamp}.png", place / "objects" / name / "cutout.png"
        ):
            continue
        told["objects"].setdefault(
            name, {"source": f"{table['source']}; {line['source']}", "licence": table["licence"]}
        )
        jobs[name] = programs
    for name, (class_name, programs) in table["heard"].items():
        told["objects"][f"{class_name}/{name}"] = dict(line)
        jobs[f"{class_name}/{name}"] = programs
    for name, programs in jobs.items():
        for program in programs:
            phrases = render_phrases(soundfont, program)
            recording = prepared(phrases, RATE_HZ, name=f"{name}, program {program}")
            _write_sound(place / "objects" / name / f"sound-{program}.flac", recording)


def _lay_backgrounds(place: Path, folders: Iterable[str | os.PathLike[str]], left_out: Sequence[str]) -> dict[str, Any]:
    """Pictures of at least 300 px, each once; a list names the packages' drawn ones, which are left out."""
    lines: dict[str, Any] = {}
    seen: set[str] = set()
    for folder in map(Path, folders):
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
            # Desktop themes keep their picture in several sizes below NAME/contents/images.
            name = path.parts[path.parts.index("contents") - 1] if "contents" in path.parts[1:] else path.stem
            name = re.sub(r"[^\w-]+", "-", re.sub(r"_?\d{3,4}x\d{3,4}$", "", name)).strip("-_")
            if name in seen or name in left_out or path.stem == "screenshot":
                continue
            picture = _photograph(path)
            if picture is not None:
                seen.add(name)
                target = place / "backgrounds" / f"{name}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(target) as file:
                    picture.save(file, format="JPEG", quality=92)
                lines[name] = {"source": _package_of(path), "licence": "the package's (see its copyright file)"}
    return lines


def _photograph(path: Path) -> Image.Image | None:
    try:
        picture = Image.fromarray(read_rgb(path))
    except MediaError:
        return None
    if min(picture.size) < 300:
        return None
    picture.thumbnail((BACKGROUND_PX, BACKGROUND_PX), Image.Resampling.LANCZOS)
    return picture


def _package_of(path: Path) -> str:
    """The part of a path that tells where a picture is from."""
    parts = path.parts
    return "/".join(parts[parts.index("share") + 1 : -1]) if "share" in parts else path.parent.name


def _recorded(path: Path) -> Recording | None:
    """A recording, or ``None`` for one that is silent, too short or damaged: packages hold a few such.

    What sounds in it must be a little longer than what can be read: reading trims it once more.
    """
    import soundfile

    try:
        samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
        recording = prepared(samples.mean(axis=1), rate_hz, name=str(path))
        return recording if recording.duration_s >= LEAST_RECORDING_S + 0.03 else None
    except (CoPropError, soundfile.LibsndfileError):
        return None


def _write_sound(path: Path, recording: Recording) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    samples = recording.samples / max(1e-9, float(np.abs(recording.samples).max())) * np.float32(0.9)
    soundfile.write(str(path), samples, RATE_HZ, format="FLAC", subtype="PCM_16")


def _write_cutout(path: Path, target: Path) -> bool:
    """The picture with at most CUTOUT_PX a side; False where it is no cut-out (opaque, tiny, or mostly see-through)."""
    try:
        picture = read_rgba(path)
    except MediaError:
        return False
    alpha = picture[..., 3]
    solid, seen = (alpha >= 200).sum(), (alpha >= 16).sum()
    if min(alpha.shape) < LEAST_CUTOUT_PX // 3 or max(alpha.shape) < LEAST_CUTOUT_PX or not seen:
        return False
    if solid < 0.6 * seen or (alpha < 16).mean() < 0.02:
        return False
    image = Image.fromarray(picture)
    image.thumbnail((CUTOUT_PX, CUTOUT_PX), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        image.save(file, format="PNG")
    return True
