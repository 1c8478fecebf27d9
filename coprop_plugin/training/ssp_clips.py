"""Clips as SSP is trained on them: frames, sound, truth, what moves and what was said, each prepared once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..adapters.aavs.adapter import Features, heard_by
from ..adapters.images import resize_bilinear
from ..adapters.sound import SecondExamples
from ..adapters.ssp.align import Texts
from ..adapters.ssp.encoders import Encoders, joined
from ..audio.vggish import VGGish
from ..errors import CoPropError
from ..language.answers import AnswerSource, NoText
from ..propagators.motion import MotionMasks
from ..structures import Clip
from .losses import IGNORE
from .sequences import SequenceSource

Heard = Callable[[Clip], Tensor]  # (T, 128) of every frame


def vggish_of(vggish: VGGish, *, stage: int, features: Features = "linear") -> Heard:
    """A clip's sound as the adapter hears it."""

    @torch.no_grad()
    def heard(clip: Clip) -> Tensor:
        examples = SecondExamples(clip, stretch_s=5 if stage == 1 else 10, missing="repeat")
        return heard_by(vggish, torch.from_numpy(examples.of(range(clip.num_frames))), features)

    return heard


@dataclass(frozen=True)
class PreparedClip:
    """The frames of a clip whose truth is known.

    Attributes:
        name: of the clip.
        frames: ``(n, h, w, 3) uint8``.
        heard: ``(n, 128) float32``.
        labels: ``(n, h, w) int64`` class numbers.
        moving: ``(n, h, w) uint8``, the flow mask.
        vision: ``(n, V, D)`` of the frozen CLIP, where texts are trained.
        tokens: ids of A1 and A2; ``None`` where the clip has no answers.
    """

    name: str
    frames: np.ndarray
    heard: Tensor
    labels: np.ndarray
    moving: np.ndarray
    vision: Tensor | None = None
    tokens: tuple[list[int], list[int]] | None = None

    @property
    def num_bytes(self) -> int:
        arrays = (self.frames, self.heard, self.labels, self.moving, self.vision)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class FrameBatch:
    """Frames of several clips; ``str()`` names the clips. Shapes as in :class:`PreparedClip`, as tensors."""

    names: tuple[str, ...]
    frames: Tensor
    heard: Tensor
    labels: Tensor
    moving: Tensor
    texts: Texts | None

    def __str__(self) -> str:
        return ", ".join(self.names)


class SspClips:
    """The clips of a source, prepared when they are first wanted and kept within a bound.

    Args:
        source: clips with their truth.
        size: height and width that frames are resized to; a multiple of 32.
        heard: the sound's features.
        motion: what moves.
        stage: 1 makes every class "sounding" (1), 2 keeps AVSBench's class numbers.
        answers, encoders: of the texts; both or neither.
        cache_bytes: bound of what is kept.

    Raises:
        CoPropError: a size that does not fit, or answers without encoders.
    """

    def __init__(
        self,
        source: SequenceSource,
        *,
        size: tuple[int, int],
        heard: Heard,
        motion: MotionMasks,
        stage: int = 1,
        answers: AnswerSource | None = None,
        encoders: Encoders | None = None,
        cache_bytes: int = 2 << 30,
    ) -> None:
        if min(size) < 32 or size[0] % 32 or size[1] % 32:
            raise CoPropError(f"frames are trained at multiples of 32 px; got {size[0]}x{size[1]}.")
        if (answers is None) != (encoders is None):
            raise CoPropError("texts are trained with answers and both encoders; give all or none.")
        self.source, self.size, self.stage = source, size, stage
        self._heard, self.motion, self.answers, self.encoders = heard, motion, answers, encoders
        self._kept: OrderedDict[int, PreparedClip] = OrderedDict()
        self._left_bytes = cache_bytes

    def __len__(self) -> int:
        return len(self.source)

    def describe(self) -> dict[str, Any]:
        texts = None if self.answers is None or self.encoders is None else [self.answers.about, self.encoders.about]
        return {"clips": self.source.describe(), "size": list(self.size), "flow": self.motion.about, "texts": texts}

    def __getitem__(self, item: int) -> PreparedClip:
        if item in self._kept:
            self._kept.move_to_end(item)
            return self._kept[item]
        clip = self._prepared(item)
        self._kept[item] = clip
        self._left_bytes -= clip.num_bytes
        while self._left_bytes < 0 and len(self._kept) > 1:
            self._left_bytes += self._kept.popitem(last=False)[1].num_bytes
        return clip

    def _prepared(self, item: int) -> PreparedClip:
        labelled = self.source[item]
        clip = labelled.clip
        known = [t for t in range(clip.num_frames) if not (labelled.labels[t] == IGNORE).any()]
        if not known:
            raise CoPropError(
                f"clip '{clip.clip_id}' has no frame whose truth is known; nothing can be learned from it."
            )
        labels = np.stack([_nearest(labelled.labels[t], self.size) for t in known]).astype(np.int64)
        if self.stage == 1:
            labels = (labels > 0).astype(np.int64)
        vision = tokens = None
        frames = [np.asarray(clip.frames[t]) for t in known]
        if self.answers is not None and self.encoders is not None:
            said = self.answers.of(clip)
            tokens = None if isinstance(said, NoText) else self.encoders.tokens(said)
            vision = self.encoders.seen(frames)
        return PreparedClip(
            clip.clip_id,
            resize_bilinear(frames, self.size),
            self._heard(clip)[known],
            labels,
            np.stack([self.motion.mask(clip, t, self.size) for t in known]),
            vision,
            tokens,
        )

    def batch(self, items: Sequence[int], frames: Sequence[np.ndarray], device: torch.device) -> FrameBatch:
        """These frames of these clips, one after the other."""
        clips = [self[item] for item in items]
        texts = None
        if self.encoders is not None:
            seen = [clip.vision[some] for clip, some in zip(clips, frames, strict=True) if clip.vision is not None]
            tokens = [clip.tokens for clip, some in zip(clips, frames, strict=True) for _ in some]
            texts = joined(torch.cat(seen).to(device), tokens)
        pictures, labels, moving = (
            torch.from_numpy(np.concatenate([getattr(c, kind)[f] for c, f in zip(clips, frames, strict=True)])).to(
                device
            )
            for kind in ("frames", "labels", "moving")
        )
        heard = torch.cat([clip.heard[some] for clip, some in zip(clips, frames, strict=True)]).to(device)
        return FrameBatch(tuple(clip.name for clip in clips), pictures, heard, labels, moving.float(), texts)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    return np.asarray(cv2.resize(labels.astype(np.int16), size[::-1], interpolation=cv2.INTER_NEAREST))
