"""Anchor masks as objects, and propagation tasks as runs: frames from the anchor on, in one direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ...structures import Clip
from ..audio_insert import AudioTokens
from ..base import PropagationTask
from ..guides import Guide
from .preprocess import most_likely


@dataclass(frozen=True)
class Anchor:
    """The mask of an anchor frame, and the objects in it.

    Attributes:
        mask: ``(K+1, H, W) float32``, as given.
        objects: the channels from 1 on that win somewhere at the frame's size: these are carried, in this order.
        labels: ``(H', W') int64`` at the frame's size: 0 background, then 1.. for ``objects``.
    """

    mask: np.ndarray
    objects: np.ndarray
    labels: torch.Tensor

    @classmethod
    def of(cls, mask: np.ndarray, frame_size: tuple[int, int]) -> Anchor:
        scores = torch.from_numpy(np.array(mask))[None]  # a copy: masks are read-only
        if mask.shape[1:] != frame_size:
            scores = F.interpolate(scores, size=frame_size, mode="bilinear", align_corners=False)
        channels = most_likely(scores)[0]
        present = channels.flatten().bincount(minlength=len(mask)) > 0
        present[0] = False
        number = torch.where(present, present.cumsum(0), 0)  # of each channel among the objects that are there
        return cls(mask, present.nonzero().flatten().numpy(), number[channels])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the mask."""
        return self.mask.shape[1], self.mask.shape[2]

    def spread(self, probability: np.ndarray) -> np.ndarray:
        """``(K+1, H, W)``: probabilities of the carried objects at their channels; the others are 0."""
        spread = np.zeros_like(self.mask)
        spread[0] = probability[0]
        spread[self.objects] = probability[1 : len(self.objects) + 1]
        return spread


@dataclass(frozen=True)
class Run:
    """Frames from the anchor on, and where their masks go.

    Attributes:
        frames: the anchor first.
        result: ``(stop - start, K+1, H, W)`` of the task.
        audio: one row for each frame of the task, if the network takes audio.
    """

    clip: Clip
    task: PropagationTask
    anchor: Anchor
    frames: Sequence[int]
    result: np.ndarray
    audio: AudioTokens | None

    def __len__(self) -> int:
        return len(self.frames)

    def audio_at(self, step: int) -> AudioTokens | None:
        """The audio of a step's frame, one row."""
        row = self.frames[step] - self.task.start
        return None if self.audio is None else self.audio.rows(slice(row, row + 1))

    def write(self, step: int, probability: np.ndarray) -> None:
        """The mask of a step's frame."""
        self.result[self.frames[step] - self.task.start] = self.anchor.spread(probability)


def runs_of(clip: Clip, task: PropagationTask, guide: Guide | None) -> tuple[np.ndarray, list[Run]]:
    """The task's result, so far the mask at its anchor, and the runs that fill in the rest.

    An empty mask needs none: it stands in all frames.

    Args:
        guide: gives the audio of the task's frames, if the network takes audio.
    """
    anchor = Anchor.of(task.mask, clip.size)
    result = np.zeros((len(task), *task.mask.shape), np.float32)
    if not len(anchor.objects):
        result[:] = task.mask
        return result, []
    result[task.anchor - task.start] = task.mask
    ways = (range(task.anchor, task.stop), range(task.anchor, task.start - 1, -1))
    audio = guide.tokens(clip, task) if guide else None
    return result, [Run(clip, task, anchor, frames, result, audio) for frames in ways if len(frames) > 1]
