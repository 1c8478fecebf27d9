"""What of a data set is there, what is missing, and how that compares with the published counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .avsbench import AVSBench
from .layouts import Video

MOST_NAMED = 20
SPLITS = ("train", "val", "test")


@dataclass
class Part:
    """Files of one sort: how many should be there, how many are, and the first that are not."""

    expected: int = 0
    found: int = 0
    missing: list[str] = field(default_factory=list)

    def count(self, dataset: AVSBench, files: Iterable[str]) -> None:
        for file in files:
            self.expected += 1
            if dataset.path(file).is_file():
                self.found += 1
            elif len(self.missing) < MOST_NAMED:
                self.missing.append(file)

    @property
    def complete(self) -> bool:
        return self.found == self.expected


@dataclass
class SplitCheck:
    """One split; ``log_mel`` (the pickles of the published loaders) is not needed here and may be missing."""

    videos: int
    published: int | None
    frames: Part = field(default_factory=Part)
    sounds: Part = field(default_factory=Part)
    masks: Part = field(default_factory=Part)
    log_mel: Part = field(default_factory=Part)

    @property
    def complete(self) -> bool:
        return self.frames.complete and self.sounds.complete and self.masks.complete


@dataclass
class DatasetCheck:
    """The whole data set."""

    layout: str
    data: str
    splits: dict[str, SplitCheck]
    notes: list[str]

    @property
    def complete(self) -> bool:
        """Whether every file that the table promises is there."""
        return all(split.complete for split in self.splits.values())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}


def check_dataset(dataset: AVSBench, videos: Iterable[Video] | None = None) -> DatasetCheck:
    """Look for every file of every video; nothing is opened.

    Args:
        dataset: what to check.
        videos: in place of all (a progress bar around ``dataset.table``).

    Raises:
        CoPropError: a link that leads out of the data set.
    """
    layout = dataset.layout
    names = sorted({v.split for v in dataset.table} | set(layout.published), key=_split_order)
    counts = {name: sum(v.split == name for v in dataset.table) for name in names}
    splits = {name: SplitCheck(counts[name], layout.published.get(name)) for name in names}
    for video in dataset.table if videos is None else videos:
        _count(dataset, video, splits[video.split])
    return DatasetCheck(layout.name, str(dataset.data), splits, _notes(dataset, splits))


def _count(dataset: AVSBench, video: Video, check: SplitCheck) -> None:
    layout = dataset.layout
    num_frames = layout.num_frames(video)
    check.frames.count(dataset, (layout.frame_file(video, t) for t in range(num_frames)))
    check.sounds.count(dataset, [layout.sound_file(video)])
    folder = dataset.mask_folder(video)
    labelled = layout.labelled(video, num_frames)
    check.masks.count(dataset, (layout.mask_file(video, t, folder=folder) for t in labelled))
    if log_mel := layout.log_mel_file(video):
        check.log_mel.count(dataset, [log_mel])


def _notes(dataset: AVSBench, splits: dict[str, SplitCheck]) -> list[str]:
    notes = []
    for name, split in splits.items():
        if split.published is not None and split.videos != split.published:
            notes.append(f"{name}: the table names {split.videos} videos, the published one {split.published}")
        if split.log_mel.expected and not split.log_mel.complete:
            notes.append(
                f"{name}: {split.log_mel.expected - split.log_mel.found} of {split.log_mel.expected} log-mel pickles are "
                "missing (only the published loaders need them)"
            )
    if dataset.layout.name == "avss" and not (dataset.data / "label2idx.json").is_file():
        notes.append("label2idx.json is missing (only the published loaders need it)")
    return notes


def _split_order(name: str) -> tuple[int, str]:
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)


def missing_files(check: DatasetCheck) -> list[str]:
    """The first missing files of every sort and split, as told to a user."""
    return [
        file
        for split in check.splits.values()
        for part in (split.frames, split.sounds, split.masks)
        for file in part.missing
    ]
