"""Where training clips come from: made on the fly, or a data set in AVSBench's layouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..datasets.avsbench import AVSBench, open_dataset
from ..datasets.made import FORMS, MadeClips, is_made, made_clips
from ..datasets.moc import true_control_points
from ..errors import CoPropError, unknown_name
from .sequences import LabelledClip, SequenceSource

Masks = Literal["sounding", "visible"]


@dataclass(frozen=True)
class SyntheticSource:
    """Clips made on the fly.

    Attributes:
        clips: which.
        size: height and width of the frames.
        masks: of the objects that sound (object ids are classes then), or of all that are visible: then the sound
            does not matter, a clip is one segment, and plain propagation is trained.
    """

    clips: MadeClips
    size: tuple[int, int]
    masks: Masks = "sounding"

    def __post_init__(self) -> None:
        if self.masks not in ("sounding", "visible"):
            raise unknown_name("kind of masks", self.masks, ("sounding", "visible"))

    def __len__(self) -> int:
        return len(self.clips.seeds)

    def __getitem__(self, item: int) -> LabelledClip:
        made = self.clips.make(self.clips.seeds[item], size=self.size)
        if self.masks == "visible":
            flags = np.arange(made.clip.num_frames) == 0
            return LabelledClip(made.clip, np.asarray(made.scene.instances), flags)
        labels = np.stack([made.scene.label_map(t) for t in range(made.clip.num_frames)])
        names = made.scene.names if made.scene.labelling == "semantic" else {}
        return LabelledClip(made.clip, labels, made.scene.control_points().flags, names)

    def describe(self) -> dict[str, Any]:
        return {**self.clips.describe(), "masks": self.masks, "size": list(self.size)}


class AVSBenchSource:
    """The videos of a split, with their masks; control points by the paper's rule (A.1).

    Args:
        dataset: S4, MS3 or AVSS, real or written by ``coprop synth``.
        split: ``train``, ``val`` or ``test``.
    """

    def __init__(self, dataset: AVSBench, *, split: str = "train") -> None:
        self._dataset, self._split = dataset, split
        self._videos = dataset.videos(split)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, item: int) -> LabelledClip:
        video = self._videos[item]
        clip, truth = self._dataset.clip(video), self._dataset.truth(video)
        labels = np.stack([truth.label_map(t) for t in range(clip.num_frames)])
        return LabelledClip(clip, labels, true_control_points(self._dataset, video).flags, self._dataset.names)

    def describe(self) -> dict[str, Any]:
        return {"layout": self._dataset.layout.name, "split": self._split, "videos": len(self)}


def open_source(text: str, *, size: tuple[int, int], split: str = "train", masks: Masks = "sounding") -> SequenceSource:
    """The clips that a user names.

    Args:
        text: ``synth:KIND:A-B`` (seeds A to B), ``objects:LIBRARY:SPLIT:KIND:A-B``, or the folder of a data set.
        size: of made frames; others keep theirs until they are cut.
        split: of a data set.
        masks: of made clips.

    Raises:
        CoPropError: neither, or nothing to train on.
    """
    if is_made(text):
        return SyntheticSource(made_clips(text), size, masks)
    if masks != "sounding":
        raise CoPropError(f"'{text}' holds masks of what sounds alone; masks='{masks}' needs synthetic clips.")
    if not Path(text).is_dir():
        raise CoPropError(f"--data is {FORMS}, or the folder of a data set; got '{text}'.")
    return AVSBenchSource(open_dataset(text), split=split)
