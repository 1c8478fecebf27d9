"""Where training clips come from: made by formula, or a data set in AVSBench's layouts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..datasets.avsbench import AVSBench, open_dataset
from ..datasets.moc import true_control_points
from ..datasets.schedule import clip_kind
from ..datasets.synthetic import make_clip
from ..errors import CoPropError, unknown_name
from .sequences import LabelledClip, SequenceSource

Masks = Literal["sounding", "visible"]


@dataclass(frozen=True)
class SyntheticSource:
    """Clips made on the fly; clip i has the seed ``first_seed + i``.

    Attributes:
        kind: of :func:`~coprop_plugin.datasets.synthetic.make_clip`.
        first_seed, num_clips: which.
        size: height and width of the frames.
        masks: of the objects that sound (object ids are classes then), or of all that are visible: then the sound
            does not matter, a clip is one segment, and plain propagation is trained.
    """

    kind: str
    first_seed: int
    num_clips: int
    size: tuple[int, int]
    masks: Masks = "sounding"

    def __post_init__(self) -> None:
        clip_kind(self.kind)
        if self.num_clips < 1 or self.first_seed < 0:
            raise CoPropError(f"there is nothing to train on: {self.num_clips} clips from seed {self.first_seed} on.")
        if self.masks not in ("sounding", "visible"):
            raise unknown_name("kind of masks", self.masks, ("sounding", "visible"))

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, item: int) -> LabelledClip:
        made = make_clip(self.first_seed + item, kind=self.kind, size=self.size)
        if self.masks == "visible":
            flags = np.arange(made.clip.num_frames) == 0
            return LabelledClip(made.clip, np.asarray(made.scene.instances), flags)
        labels = np.stack([made.scene.label_map(t) for t in range(made.clip.num_frames)])
        return LabelledClip(made.clip, labels, made.scene.control_points().flags)

    def describe(self) -> dict[str, Any]:
        seeds = f"{self.first_seed}-{self.first_seed + self.num_clips - 1}"
        return {"kind": self.kind, "seeds": seeds, "masks": self.masks, "size": list(self.size)}


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
        return LabelledClip(clip, labels, true_control_points(self._dataset, video).flags)

    def describe(self) -> dict[str, Any]:
        return {"layout": self._dataset.layout.name, "split": self._split, "videos": len(self)}


def open_source(text: str, *, size: tuple[int, int], split: str = "train", masks: Masks = "sounding") -> SequenceSource:
    """The clips that a user names.

    Args:
        text: ``synth:KIND:A-B`` (seeds A to B), or the folder of a data set.
        size: of synthetic frames; others keep theirs until they are cut.
        split: of a data set.
        masks: of synthetic clips.

    Raises:
        CoPropError: neither, or nothing to train on.
    """
    if not text.startswith("synth:"):
        if masks != "sounding":
            raise CoPropError(f"'{text}' holds masks of what sounds alone; masks='{masks}' needs synthetic clips.")
        if not Path(text).is_dir():
            raise CoPropError(
                f"--data is synth:KIND:FIRST-LAST (synth:moc:0-999) or the folder of a data set; got '{text}'."
            )
        return AVSBenchSource(open_dataset(text), split=split)
    found = re.fullmatch(r"synth:(.+):(\d+)-(\d+)", text)
    if not found:
        raise CoPropError(f"synthetic clips are named synth:KIND:FIRST-LAST, as synth:moc:0-999; got '{text}'.")
    kind, first, last = found[1], int(found[2]), int(found[3])
    return SyntheticSource(kind, first, last - first + 1, size, masks)
