"""What all published models share once their network stands: batches, windows, single frames, bounded memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CoPropError
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, BINARY, Clip, FrameSpool, FrameStack, Prediction
from ..structures.prediction import Kind
from .backbones.images import as_in_avsbench, normalise, resize_bilinear
from .base import Adapter, check_frames
from .sound import Missing, SecondExamples

Precision = Literal["float32", "bfloat16"]
GPU_BATCH_FRAMES = 16


class Batch(NamedTuple):
    """Frames as a network takes them.

    Attributes:
        frames: ``(n, 3, h, w) float32``, resized and normalised.
        examples: ``(n, 1, 96, 64) float32`` log-mel, one a frame.
        indices: the frames' places in their clip.
    """

    frames: Tensor
    examples: Tensor
    indices: list[int]


class PublishedAdapter(Adapter):
    """Runs a published network over a clip, window by window, on CPU or GPU.

    Attributes:
        together: how many frames the network sees as one clip; 1 where frames never meet.
        size: height and width in pixels that the loader resizes frames to.
        prepared: whether the loader finds frames of 224 x 224 px on disk (S4, MS3), which others are first made into.
        score_size: height and width of the scores.
        stretch_s, missing: see :class:`SecondExamples`.
    """

    kind: Kind = "logit"
    together = 1
    size: tuple[int, int] = (224, 224)
    prepared = False
    score_size: tuple[int, int] = (224, 224)
    stretch_s = 5
    missing: Missing = "repeat"

    def __init__(
        self,
        network: nn.Module,
        *,
        class_ids: tuple[int, ...] = BINARY,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
    ) -> None:
        """Options of every published adapter.

        Args:
            network: with its weights.
            class_ids: the classes that it names.
            device: ``auto`` takes the GPU where there is one.
            precision: ``bfloat16`` runs matrix products in it (meant for GPUs; close to, not equal to float32).
            batch_frames: frames run at once, rounded down to whole windows; by default a window on the CPU and
                16 frames on a GPU.

        Raises:
            CoPropError: an unknown device or precision, or a batch of no frame.
        """
        if precision not in ("float32", "bfloat16"):
            raise CoPropError(f"unknown precision '{precision}'. Allowed: float32, bfloat16.")
        if batch_frames is not None and batch_frames < 1:
            raise CoPropError(f"batch_frames counts the frames run at once, at least 1; got {batch_frames}.")
        self.device = chosen_device(device)
        self.network = network.to(self.device)
        self.precision = precision
        self.batch_frames = batch_frames or (GPU_BATCH_FRAMES if self.device.type == "cuda" else self.together)
        self.class_ids: tuple[int, ...] = class_ids

    @abstractmethod
    def answer(self, clip: Clip, batch: Batch, *, alone: bool) -> Tensor:
        """Scores of a batch of whole windows, or of frames that are each shown alone.

        Returns:
            ``(n, C, H, W) float32``: K + 1 channels, or the foreground's logit alone. A model whose label is not the
            argmax of its scores appends the label as a last channel (``own_labels``).
        """

    own_labels = False

    def predict(self, clip: Clip) -> Prediction:
        """Every frame of the clip; computed when first read, a batch of windows at a time, then kept.

        A last window that is not full looks back over earlier frames; a clip shorter than a window repeats its last
        frame. Results beyond 256 MB lie in a temporary file.
        """
        answers = _Answers(self, clip)
        shape = (len(self.class_ids) + 1, *self.score_size)
        labels = None
        if self.own_labels:
            labels = FrameStack(
                lambda t: answers[t][-1].astype(np.int16),
                num_frames=clip.num_frames,
                frame_shape=self.score_size,
                dtype=np.int16,
            )
        return Prediction(
            scores=FrameStack(
                lambda t: self._scores(answers[t]), num_frames=clip.num_frames, frame_shape=shape, dtype=np.float32
            ),
            kind=self.kind,
            class_ids=self.class_ids,
            labels=labels,
            names=dict(enumerate(AVSBENCH_NAMES)) if self.class_ids == AVSBENCH_CLASSES else {},
            source=f"{self.name} on clip '{clip.clip_id}'",
        )

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """Each of these frames as a clip of its own, the frame and its sound in every place (the paper's use)."""
        indices = check_frames(clip, frames)
        examples = self._examples(clip)
        scores: dict[int, np.ndarray] = {}
        for start in range(0, len(indices), self.batch_frames):
            chunk = indices[start : start + self.batch_frames]
            answers = self.run(clip, chunk, examples, alone=True)
            scores |= {t: self._scores(one) for t, one in zip(chunk, answers, strict=True)}
        return scores

    @torch.inference_mode()
    def run(self, clip: Clip, indices: list[int], examples: SecondExamples, *, alone: bool = False) -> np.ndarray:
        """``(n, C, H, W) float32``: :meth:`answer` for these frames, which are whole windows unless ``alone``."""
        frames = normalise(torch.from_numpy(self.resized(clip, indices)).to(self.device))
        batch = Batch(frames, torch.from_numpy(examples.of(indices)).to(self.device), indices)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.answer(clip, batch, alone=alone).float().cpu().numpy()

    def resized(self, clip: Clip, indices: list[int]) -> np.ndarray:
        """``(n, h, w, 3) uint8``: frames by the published resize rules."""
        frames = (np.asarray(clip.frames[t]) for t in indices)
        return resize_bilinear(map(as_in_avsbench, frames) if self.prepared else frames, self.size)

    def _examples(self, clip: Clip) -> SecondExamples:
        return SecondExamples(clip, stretch_s=self.stretch_s, missing=self.missing)

    def _scores(self, answer: np.ndarray) -> np.ndarray:
        scores = answer[:-1] if self.own_labels else answer
        return scores if len(scores) > 1 else np.stack([np.zeros_like(scores[0]), scores[0]])


class _Answers:
    """The answers for one clip, computed in batches of whole windows and kept."""

    def __init__(self, adapter: PublishedAdapter, clip: Clip) -> None:
        self._adapter, self._clip = adapter, clip
        self._examples = adapter._examples(clip)
        self._kept = FrameSpool()
        self._windows = list(windows(clip.num_frames, adapter.together))
        self._per_batch = max(1, adapter.batch_frames // adapter.together)

    def __getitem__(self, t: int) -> np.ndarray:
        if t not in self._kept:
            first = t // self._adapter.together // self._per_batch * self._per_batch
            batch = self._windows[first : first + self._per_batch]
            indices = [index for window in batch for index in window]
            answers = self._adapter.run(self._clip, indices, self._examples)
            for index, answer in zip(indices, answers, strict=True):
                if index not in self._kept and index // self._adapter.together >= first:
                    self._kept[index] = answer
        return self._kept[t]


def windows(num_frames: int, together: int) -> Iterator[list[int]]:
    """Windows of ``together`` frame indices that cover the clip; the last one looks back, a short one repeats its end.

    >>> list(windows(7, 5))
    [[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]
    >>> list(windows(2, 3))
    [[0, 1, 1]]
    """
    for start in range(0, num_frames, together):
        first = max(0, min(start, num_frames - together))
        yield [min(first + i, num_frames - 1) for i in range(together)]


def chosen_device(device: str) -> torch.device:
    """``"auto"`` is the GPU where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise CoPropError(f"unknown device '{device}'; write auto, cpu, cuda or cuda:0.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise CoPropError(f"the device '{device}' was asked for, but torch sees no GPU here; use device='cpu'.")
    return chosen
