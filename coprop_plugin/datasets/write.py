"""Writing synthetic clips, and what simulated base models say of them, in the published layouts.

The data set is built in a hidden folder beside its place and moved there when it is whole.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
import re
import tempfile
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import CoPropError, unknown_name
from ..files import check_new_folder
from ..masks.palette import voc_palette
from ..structures import AVSBENCH_NAMES
from .avsbench import AVSBench, open_dataset
from .layouts import LAYOUTS, Layout, Video
from .objects.casting import Classes
from .objects.clips import make_object_clip
from .objects.library import Library
from .scene_files import scene_description
from .simulators import find_simulator, simulate
from .synthetic import Onsets, SyntheticClip, make_clip

LAYOUT_OF_KIND = {"s4": "s4", "ms3": "ms3", "avss": "avss", "moc": "avss"}
SPLIT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
SEEDS_PER_SET = 100_000  # clip i of the set with the seed s is the clip with the seed s * SEEDS_PER_SET + i
_FOLDERS = {"s4": "Single-source/s4_data", "ms3": "Multi-sources/ms3_data", "avss": "AVSS"}
_TABLE_COLUMNS = {
    "s4": ("name", "start", "category", "split"),
    "ms3": ("video_id", "split"),
    "avss": ("vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"),
}


@dataclass(frozen=True)
class Simulation:
    """A simulated base model whose masks are saved with the data set."""

    name: str
    strength: float = 1

    def __str__(self) -> str:
        return f"{self.name}-{self.strength:g}"

    @classmethod
    def parse(cls, text: str) -> Simulation:
        """``"lag:1"`` or ``"lag"``.

        Raises:
            CoPropError: an unknown simulator, or a strength that means nothing to it.
        """
        name, _, strength = text.partition(":")
        try:
            number = float(strength or 1)
        except ValueError as error:
            raise CoPropError(f"the strength in '{text}' is no number; write {name}:1.") from error
        find_simulator(name, number)
        return cls(name, number)


def write_dataset(
    root: str | os.PathLike[str],
    *,
    kind: str,
    videos: int,
    seed: int = 0,
    splits: Sequence[str] = ("train", "val", "test"),
    size: tuple[int, int] = (224, 224),
    onsets: Onsets | None = None,
    objects: Library | None = None,
    simulations: Sequence[Simulation] = (),
    progress: Callable[[Iterable[Video]], Iterable[Video]] = iter,
) -> AVSBench:
    """A synthetic data set in the layout that fits its kind.

    Below ``root``: ``Single-source``, ``Multi-sources`` or ``AVSS`` as published (log-mel pickles for the published
    loaders included); ``scenes/`` with the object maps of all visible objects and what sounds when; and
    ``predictions/NAME-STRENGTH/`` with a simulated base model's masks, named as published code names them.

    Args:
        root: a folder that does not exist yet, or is empty.
        kind: ``s4``, ``ms3``, ``avss``, or ``moc`` (in the AVSS layout).
        videos: how many in all; shared out 70 / 15 / 15 % over the splits that are asked for.
        seed: clip i has the seed ``100000 * seed + i``.
        splits: which splits.
        size: height and width in pixels; published S4 and MS3 frames are 224 by 224.
        onsets: as in :func:`make_clip` (``grid``); sounds of a library begin at any time.
        objects: a library that the clips are made of, each split from its own part; in the AVSS layout of AVSBench's
            classes alone. By default they are made by formula.
        simulations: which base models to simulate.
        progress: wraps the videos while they are written.

    Returns:
        The data set, opened.

    Raises:
        CoPropError: a kind without a layout, an unknown split, a folder that holds something or
            is the working folder or one above it, or ``onsets`` beside
            ``objects``.
    """
    root = check_new_folder(root)
    if kind not in LAYOUT_OF_KIND:
        raise unknown_name("kind of data set", kind, LAYOUT_OF_KIND)
    if not splits:
        raise CoPropError(f"name at least one split of {', '.join(SPLIT_SHARES)}.")
    for split in splits:
        if split not in SPLIT_SHARES:
            raise unknown_name("split", split, SPLIT_SHARES)
    if not 0 < videos <= SEEDS_PER_SET or seed < 0:
        raise CoPropError(
            f"a set has 1 to {SEEDS_PER_SET} videos and a seed from 0 on; got videos={videos}, seed={seed}."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CoPropError(f"{root}: is not empty; name a new folder, so that no two data sets are mixed.")
    layout = LAYOUTS[LAYOUT_OF_KIND[kind]]
    make = _maker(layout, kind, size, onsets, objects)
    planned = {v: partial(make, number, v.split) for v, number in _plan(layout, kind, videos, seed, splits, make)}
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-", ignore_cleanup_errors=True) as hidden:
        place = Path(hidden) / "set"
        rows = []
        for video in progress(list(planned)):
            clip = planned[video]()
            _write_video(layout, place / _FOLDERS[layout.name], video, clip)
            _write_scene(place / "scenes" / video.video_id, clip)
            for simulation in simulations:
                _write_prediction(layout, place / "predictions" / str(simulation), video, clip, simulation)
            rows.append(_row(layout, video, clip))
        _write_table(layout, place / _FOLDERS[layout.name], rows)
        try:
            place.replace(root)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise CoPropError(f"{root}: something was written there meanwhile; name a new folder.") from error
    return open_dataset(root, layout=layout.name)  # type: ignore[arg-type]


def is_made(video: Video) -> bool:
    """Whether a video's id is one that :func:`write_dataset` gives; real ones begin with eleven signs of a web address."""
    return re.fullmatch(rf"({'|'.join(LAYOUT_OF_KIND)})_\d{{7,}}(_0_10000)?", video.video_id) is not None


def _maker(
    layout: Layout, kind: str, size: tuple[int, int], onsets: Onsets | None, objects: Library | None
) -> Callable[[int, str], SyntheticClip]:
    """Seed and split -> clip."""
    semantic = layout.name == "avss"
    if objects is None:
        made = partial(make_clip, kind=kind, size=size, semantic=semantic, onsets=onsets or "grid")
        return lambda seed, split: made(seed)
    if onsets is not None:
        raise CoPropError("sounds of a library of objects begin at any time; leave 'onsets' out, or 'objects'.")
    classes: Classes = "avsbench" if semantic else "all"
    real = partial(make_object_clip, objects, kind=kind, size=size, semantic=semantic, classes=classes)
    return lambda seed, split: real(seed, split=split)


def _plan(
    layout: Layout, kind: str, videos: int, seed: int, splits: Sequence[str], make: Callable[[int, str], SyntheticClip]
) -> list[tuple[Video, int]]:
    """The videos and the seeds of their clips."""
    weights = np.array([SPLIT_SHARES[split] for split in splits])
    edges = np.round(np.cumsum(weights / weights.sum()) * videos).astype(int)
    planned = []
    for i in range(videos):
        split, number = splits[int(np.searchsorted(edges, i, side="right"))], seed * SEEDS_PER_SET + i
        name = f"{kind}_{number:07d}"
        if layout.name == "avss":
            video = Video(f"{name}_0_10000", split, "v2", name)
        elif layout.name == "s4":
            scene = make(number, split).scene
            (sounding,) = scene.class_sets[0]
            video = Video(name, split, scene.names[sounding], name)
        else:
            video = Video(name, split, "", name)
        planned.append((video, number))
    return planned


def _write_video(layout: Layout, data: Path, video: Video, made: SyntheticClip) -> None:
    """Frames, sound and masks of one video, as the published preparation leaves them."""
    clip, scene = made.clip, made.scene
    for t in range(clip.num_frames):
        path = _below(data, layout.frame_file(video, t))
        _save(path, Image.fromarray(clip.frames[t]), "JPEG" if path.suffix == ".jpg" else "PNG")
    _write_wav(_below(data, layout.sound_file(video)), clip.sound.samples, clip.sound.rate_hz)
    if log_mel := layout.log_mel_file(video):
        _write_log_mel(_below(data, log_mel), clip.sound.samples)
    for t in layout.labelled(video, clip.num_frames):
        labels = scene.label_map(t)
        for folder in layout.masks:
            path = _below(data, layout.mask_file(video, t, folder=folder))
            _save(path, _mask_image(labels, folder), "PNG")


def _mask_image(labels: np.ndarray, folder: str) -> Image.Image:
    """White on black, palette colours, or class indices, by the folder's custom."""
    if "labels_rgb" in folder:
        return Image.fromarray(voc_palette()[labels])
    if "labels_semantic" in folder:
        return Image.fromarray(labels.astype(np.uint8))
    return _white(labels)


def _write_scene(folder: Path, made: SyntheticClip) -> None:
    """What :func:`.scene_files.read_scene` reads."""
    for t in range(made.scene.num_frames):
        _save(_below(folder, f"instances/{t}.png"), _indexed(made.scene.instance_map(t)), "PNG")
    (folder / "scene.json").write_text(json.dumps(scene_description(made.scene)), encoding="utf-8")


def _write_prediction(layout: Layout, folder: Path, video: Video, made: SyntheticClip, simulation: Simulation) -> None:
    """Label maps as indexed PNG: 0/255 in binary layouts as published, class indices (lossless) in AVSS."""
    number = int(video.original_id.rpartition("_")[2])
    prediction = simulate(made.scene, simulation.name, strength=simulation.strength, seed=number)
    for t in range(prediction.num_frames):
        labels = prediction.label_map(t)
        # A clip of AVSS that shows one class only still has class indices.
        image = _indexed(labels) if layout.name == "avss" else _white(labels).convert("P")
        _save(_below(folder, layout.prediction_file(video, t)), image, "PNG")


def _white(labels: np.ndarray) -> Image.Image:
    return Image.fromarray((labels > 0).astype(np.uint8) * 255)


def _indexed(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(voc_palette().tobytes())
    return image


def _row(layout: Layout, video: Video, made: SyntheticClip) -> tuple[str, ...]:
    if layout.name == "s4":
        return (video.video_id, "0", video.group, video.split)
    if layout.name == "ms3":
        return (video.video_id, video.split)
    classes = sorted(frozenset().union(*made.scene.class_sets))
    sounding = "_".join(made.scene.names[c] for c in classes)
    return (video.original_id, video.video_id, "0", "0", sounding, video.split, video.group)


def _write_table(layout: Layout, data: Path, rows: list[tuple[str, ...]]) -> None:
    if layout.name == "avss":
        label2idx = {name: i + 1 for i, name in enumerate(AVSBENCH_NAMES)}
        (data / "label2idx.json").write_text(json.dumps(label2idx, indent=4), encoding="utf-8")
    table = data / layout.table if layout.name == "avss" else data.parent / layout.table
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([_TABLE_COLUMNS[layout.name], *rows])


def _write_wav(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    """16-bit stereo, as the published files are."""
    values = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(np.repeat(values, 2).tobytes())


def _write_log_mel(path: Path, samples: np.ndarray) -> None:
    """The pickle of VGGish examples that the published loaders read: ``(5, 1, 96, 64) float32``."""
    import torch

    from ..audio.vggish import log_mel_examples

    examples = torch.from_numpy(log_mel_examples(samples)[:5].copy()).requires_grad_()
    with path.open("wb") as file:
        pickle.dump(examples, file, protocol=4)


def _below(folder: Path, relative: str) -> Path:
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _save(path: Path, image: Image.Image, form: str) -> None:
    # The fastest PNG compression: a fifth of the time, a few percent larger.
    image.save(path, format=form, **({"quality": 95} if form == "JPEG" else {"compress_level": 1}))
