"""AVSBench on disk: S4, MS3 and AVSS as the published loaders read them, one clip and its truth at a time."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import CoPropError, unknown_name
from ..files import leads_out
from ..masks.palette import colours_to_labels, voc_palette
from ..media.images import LabelImage, read_label_values
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, Clip, FrameStack, Prediction
from .layouts import LAYOUTS, Layout, Video, read_table

LayoutName = Literal["auto", "s4", "ms3", "avss"]
UNLABELLED = -1


def open_dataset(root: str | os.PathLike[str], *, layout: LayoutName = "auto") -> AVSBench:
    """The data set below a folder; only its table is read.

    Args:
        root: the folder that holds the table, or one that holds it under a published name
            (``Single-source/s4_data``, ``Multi-sources/ms3_data``, ``AVSS``, ``AVSBench-semantic``), or the data
            folder itself with the table beside it.
        layout: ``s4``, ``ms3``, ``avss``, or ``auto`` where only one of them is there.

    Raises:
        CoPropError: nothing or several are found, or the table is damaged or names files outside.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise unknown_name("layout", layout, ("auto", *LAYOUTS))
    root = Path(root)
    if not root.is_dir():
        raise CoPropError(f"{root}: is no folder; name the folder of a data set.")
    wanted = LAYOUTS.values() if layout == "auto" else [LAYOUTS[layout]]
    found = {rule.name: place for rule in wanted if (place := _find(root, rule))}
    if not found:
        tables = " or ".join(rule.table for rule in wanted)
        raise CoPropError(
            f"{root}: holds no AVSBench data set: no {tables} with its data here, nor in "
            f"{', '.join(dict.fromkeys(home for rule in wanted for home in rule.homes if home))}."
        )
    if len(found) > 1:
        raise CoPropError(f"{root}: holds several data sets ({', '.join(found)}); say which with layout=.")
    ((name, (data, table)),) = found.items()
    return AVSBench(LAYOUTS[name], data, read_table(table, LAYOUTS[name]))


def _find(root: Path, layout: Layout) -> tuple[Path, Path] | None:
    """The data folder and the table, the nearest first. A table lies in the data folder or beside it."""
    for home in layout.homes:
        data = root / home
        if layout.name == "avss":
            if (data / layout.table).is_file():
                return data, data / layout.table
        elif (data / "gt_masks").is_dir() or (data / "visual_frames").is_dir():
            for table in (data / layout.table, data.parent / layout.table):
                if table.is_file():
                    return data, table
    return None


@dataclass(frozen=True)
class AVSBench:
    """An opened data set.

    Attributes:
        layout: which of the three.
        data: the folder that the layout's paths start from.
        table: every video, in the order of the table.
    """

    layout: Layout
    data: Path
    table: tuple[Video, ...]

    @property
    def names(self) -> Mapping[int, str]:
        """Class id -> name; empty where the truth is binary."""
        return {c: AVSBENCH_NAMES[c] for c in AVSBENCH_CLASSES} if self.layout.name == "avss" else {}

    def videos(self, split: str | None = None) -> tuple[Video, ...]:
        """The videos of a split, or all.

        Raises:
            CoPropError: no video has this split.
        """
        splits = {video.split for video in self.table}
        if split is not None and split not in splits:
            raise unknown_name("split", split, splits)
        return tuple(video for video in self.table if split in (None, video.split))

    def video(self, video_id: str) -> Video:
        """The video of that id.

        Raises:
            CoPropError: not in the table.
        """
        if video_id not in self._by_id:
            near = difflib.get_close_matches(video_id, self._by_id, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise CoPropError(f"unknown video '{video_id}'.{hint} The table names {len(self.table)} videos.")
        return self._by_id[video_id]

    @cached_property
    def _by_id(self) -> dict[str, Video]:
        return {video.video_id: video for video in self.table}

    @cached_property
    def _resolved(self) -> Path:
        return _resolved(self.data)

    def clip(self, video: Video | str) -> Clip:
        """Frames and sound of a video; sampling ``avsbench``.

        Raises:
            CoPropError: missing, surplus or damaged files, or links that lead out of the data set.
        """
        from ..media.reader import read_clip

        video = self._video(video)
        folder, sound = self.path(self.layout.frames_folder(video)), self.path(self.layout.sound_file(video))
        for place, word in ((folder, "folder of frames"), (sound, "sound")):
            if not place.exists():
                raise CoPropError(
                    f"{place}: the {word} of '{video.video_id}' is missing. `coprop data check` lists all."
                )
        clip = read_clip(folder, audio=sound, sampling="avsbench", clip_id=video.video_id)
        self._check_count(video, clip.num_frames, folder)
        return clip

    def truth(self, video: Video | str) -> Prediction:
        """The true masks of a video, read frame by frame; frames without a mask hold -1.

        AVSS masks come from ``labels_rgb``, as in the published loaders (a colour that is not in the palette is
        background), or from ``labels_semantic`` where the former is not there.

        Raises:
            CoPropError: missing files, links that lead out of the data set; when a frame is read: values that are
                neither background nor foreground, or no class.
        """
        video = self._video(video)
        layout = self.layout
        folder = self.mask_folder(video)
        num_frames = self.num_frames(video)
        labelled = layout.labelled(video, num_frames)
        files = {t: self.path(layout.mask_file(video, t, folder=folder)) for t in labelled}
        missing = [path for path in files.values() if not path.is_file()]
        if missing:
            raise CoPropError(f"{missing[0]}: the mask is missing ({len(missing)} of {len(files)} of this video are).")
        size = read_label_values(files[0]).values.shape[:2]
        decode = _classes if layout.name == "avss" else _foreground

        def read(t: int) -> np.ndarray:
            if t not in files:
                return np.full(size, UNLABELLED, np.int16)
            return decode(read_label_values(files[t]), files[t])

        labels = FrameStack(read, num_frames=num_frames, frame_shape=size, dtype=np.int16)
        return Prediction.from_labels(
            labels, class_ids=layout.class_ids, names=self.names, source=f"truth of '{video.video_id}'"
        )

    def mask_folder(self, video: Video) -> str:
        """The layout's template for the folder of masks: the preferred of those that are there."""
        for template in self.layout.masks:
            if self.path(self.layout.mask_file(video, 0, folder=template)).parent.is_dir():
                return template
        return self.layout.masks[0]

    def num_frames(self, video: Video | str) -> int:
        """T: five in S4 and MS3; in AVSS the number of files in ``frames/``, as the published loaders count."""
        video = self._video(video)
        if self.layout.name != "avss":
            return self.layout.num_frames(video)
        folder = self.path(self.layout.frames_folder(video))
        count = sum(path.suffix.lower() == ".jpg" for path in folder.iterdir()) if folder.is_dir() else 0
        if not count:
            raise CoPropError(f"{folder}: holds no frames of '{video.video_id}'.")
        return count

    def path(self, relative: str) -> Path:
        """A file of the data set.

        Raises:
            CoPropError: a link on the way leads out of the data set.
        """
        path = self.data / relative
        inside = not path.is_symlink() and _resolved(path.parent.absolute()).is_relative_to(self._resolved)
        if not inside and leads_out(path, self._resolved):
            raise CoPropError(
                f"{path}: a link on the way leads out of the data set, to {os.path.realpath(path)}, and is not followed. "
                "Copy or mount the files below its folder."
            )
        return path

    def _video(self, video: Video | str) -> Video:
        return self.video(video if isinstance(video, str) else video.video_id)

    def _check_count(self, video: Video, found: int, folder: Path) -> None:
        expected = self.num_frames(video)
        if found != expected:
            raise CoPropError(f"{folder}: holds {found} frames, but '{video.video_id}' has {expected} in this layout.")


@lru_cache(maxsize=8)
def _resolved(folder: Path) -> Path:
    """Where a folder really lies; those of one video are asked for file after file."""
    return Path(os.path.realpath(folder))


def _foreground(image: LabelImage, path: Path) -> np.ndarray:
    """``(H, W) int16``: 1 where a binary mask is white.

    Grey values are refused: the published S4 loader dithers them, the MS3 loader divides them by 255.
    """
    values = _values(image, path)
    grey = values if values.ndim == 2 else values.max(axis=2)
    white = 1 if image.mode == "1" else 255
    pure = ((values == 0) | (values == white)).all()
    if not pure or (values.ndim == 3 and (values.min(axis=2) != grey).any()):
        odd = np.setdiff1d(values, (0, white))
        raise CoPropError(
            f"{path}: a binary mask of this data set is black and white (0 and {white} in mode {image.mode}); "
            f"it also holds {odd[:5].tolist() or 'colours'}."
        )
    return (grey == white).astype(np.int16)


def _classes(image: LabelImage, path: Path) -> np.ndarray:
    """``(H, W) int16`` class ids from palette colours or class indices."""
    values = _values(image, path)
    if values.ndim == 3:
        return colour_classes(values)
    if values.max() > AVSBENCH_CLASSES[-1]:
        raise CoPropError(f"{path}: holds the class index {values.max()}; AVSBench has 0 to {AVSBENCH_CLASSES[-1]}.")
    return values.astype(np.int16)


def _values(image: LabelImage, path: Path) -> np.ndarray:
    """What the file holds, of an indexed picture by its colours."""
    values = image.by_colour()
    if values is None:
        raise CoPropError(f"{path}: an indexed picture whose colours are not those of AVSBench (Pascal VOC).")
    return values


def colour_classes(colours: np.ndarray) -> np.ndarray:
    """``(H, W) int16`` class ids of ``(H, W, 3) uint8`` colours; a colour of no class is background, as published."""
    return colours_to_labels(colours, _COLOURS).astype(np.int16)


_COLOURS = voc_palette(len(AVSBENCH_NAMES))
