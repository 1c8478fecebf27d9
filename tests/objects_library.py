"""A tiny library of objects, drawn and sounded by formula: no package and no network."""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from coprop_plugin.datasets.objects.library import Library
from coprop_plugin.datasets.objects.table import describe_library
from coprop_plugin.datasets.synthetic import SyntheticClip
from coprop_plugin.datasets.timbre import RATE_HZ, class_loop

CLASSES = ("dog", "horse", "lion", "cat", "violin", "whistle", "rattle")  # the last two are none of AVSBench's
SPLITS = ("train", "val", "test")
SILENT = ("bus", "pebble")


def tiny_library(root: Path) -> Library:
    """Seven sounding classes, a person, two distractors, a speaker and a background in each split; all differ."""
    told: dict = {"classes": {}, "objects": {}, "distractors": {}, "voices": {}, "backgrounds": {}}
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng(number)
        for i, name in enumerate(CLASSES):
            place = root / "objects" / name / f"{name}-{split}"
            write_cutout(place / "cutout.png", rng, hue=i)
            write_bursts(place / "sound.wav", 10 * number + i + 1, rng)
            told["objects"][f"{name}/{name}-{split}"] = {"split": split}
        write_bursts(root / "objects" / "gong" / f"gong-{split}" / "sound.wav", 50 + number, rng)
        told["objects"][f"gong/gong-{split}"] = {"split": split}
        write_cutout(root / "objects" / "person" / split / "cutout.png", rng, hue=7)
        told["objects"][f"person/{split}"] = {"split": split, "spoken": True}
        for i, name in enumerate(SILENT):
            write_cutout(root / "distractors" / f"{name}-{split}.png", rng, hue=8 + i)
            told["distractors"][f"{name}-{split}"] = {"split": split, "class": name}
        for i in range(3):
            write_bursts(root / "voices" / f"speaker-{split}" / f"{i}.wav", 30 + 3 * number + i, rng)
        told["voices"][f"speaker-{split}"] = {"split": split}
        write_background(root / "backgrounds" / f"place-{split}.png", rng)
        told["backgrounds"][f"place-{split}"] = {"split": split}
    return describe_library(root, told)


def digest(made: SyntheticClip) -> str:
    """Of all that a clip shows, sounds and tells."""
    parts = (made.clip.frames[:], made.scene.instances[:], made.clip.sound.samples, made.scene.sounding)
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def write_cutout(path: Path, rng: np.random.Generator, *, hue: int) -> None:
    """An ellipse with stripes and a soft edge."""
    height, width = int(rng.integers(50, 90)), int(rng.integers(50, 90))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1 - np.hypot(x, y)) * 12, 0, 1) * 255
    stripes = 128 + 100 * np.sin(6 * x + hue)
    colours = np.stack([stripes, 40.0 * (hue % 6) + 0 * x, 255 - stripes, alpha], axis=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours.astype(np.uint8)).save(path)


def write_bursts(path: Path, timbre: int, rng: np.random.Generator) -> None:
    """Two bursts of a timbre with a pause of 0.1 to 0.3 s, silence at both ends."""
    pause = np.zeros(int(rng.uniform(0.1, 0.3) * RATE_HZ), np.float32)
    burst = class_loop(timbre)[: RATE_HZ // 2] * np.float32(0.1)
    write_wav(path, np.concatenate([pause, burst, pause, burst, pause]))


def write_background(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    coarse.resize((200, 150), Image.Resampling.BICUBIC).save(path)


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2").tobytes())
