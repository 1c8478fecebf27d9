"""What all published models share once their network stands: batches, windows, single frames, bounded memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CoPropError
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, BINARY, Clip, FrameSpool, FrameStack, Prediction
from ..structures.prediction import Kind
from ..weights.device import choose_device
from .base import Adapter, check_frames
from .images import as_in_avsbench, normalise, resize_bilinear
from .sound import Missing, SecondExamples

Precision = Literal["float32", "bfloat16"]
GPU_BATCH_FRAMES = 16


class Batch(NamedTuple):
    """Frames as a network takes them, of one clip or of several.

    Attributes:
        frames: ``(n, 3, h, w) float32``, resized and normalised; padding frames are zeros.
        examples: ``(n, 1, 96, 64) float32`` log-mel, one a frame.
        flag: ``(n,) float32``, 1 for frames of a clip, 0 for padding.
        places: the clip of each frame, and its index there (at or beyond the clip's end for padding).
    """

    frames: Tensor
    examples: Tensor
    flag: Tensor
    places: list[tuple[Clip, int]]


class ModelWindow(NamedTuple):
    """Frames of a clip that a network sees together, and the clip's sound."""

    clip: Clip
    examples: SecondExamples
    indices: list[int]


class PublishedAdapter(Adapter):
    """Runs a published network over a clip, window by window, on CPU or GPU.

    Attributes:
        together: how many frames the network sees as one clip; 1 where frames never meet.
        size: height and width in pixels that the loader resizes frames to.
        prepared: whether the loader finds frames of 224 x 224 px on disk (S4, MS3), which others are first made into.
        score_size: height and width of the scores.
        stretch_s, missing: see :class:`SecondExamples`.
        padded: whether a last window that is not full is filled with zero frames of flag 0, as AVSS loaders do;
            else it looks back.
    """

    kind: Kind = "logit"
    together = 1
    size: tuple[int, int] = (224, 224)
    prepared = False
    score_size: tuple[int, int] = (224, 224)
    stretch_s = 5
    missing: Missing = "repeat"
    padded = False

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
        self.device = choose_device(device)
        self.network = network.to(self.device)
        self.precision = precision
        self.batch_frames = batch_frames or (GPU_BATCH_FRAMES if self.device.type == "cuda" else self.together)
        self.class_ids: tuple[int, ...] = class_ids

    @abstractmethod
    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        """Scores of a batch of whole windows, or of frames that are each shown alone.

        Returns:
            ``(n, C, H, W) float32``: K + 1 channels, or the foreground's logit alone. A model whose label is not the
            argmax of its scores appends the label as a last channel (``own_labels``).
        """

    own_labels = False

    def predict(self, clip: Clip) -> Prediction:
        """Every frame of the clip; computed when first read, a batch of windows at a time, then kept.

        A last window that is not full looks back over earlier frames or is ``padded``; a clip shorter than a window
        that looks back repeats its last frame. Results beyond 256 MB lie in a temporary file.
        """
        return self.predict_clips([clip])[0]

    def predict_clips(self, clips: Sequence[Clip]) -> list[Prediction]:
        """The same for several clips, whose windows share batches and whose results share the 256 MB."""
        answers = _Answers(self, clips)
        return [self._prediction(clip, partial(answers.of, number)) for number, clip in enumerate(clips)]

    def _prediction(self, clip: Clip, answer: Callable[[int], np.ndarray]) -> Prediction:
        shape = (len(self.class_ids) + 1, *self.score_size)
        labels = None
        if self.own_labels:
            labels = FrameStack(
                lambda t: answer(t)[-1].astype(np.int16),
                num_frames=clip.num_frames,
                frame_shape=self.score_size,
                dtype=np.int16,
            )
        return Prediction(
            scores=FrameStack(
                lambda t: self._scores(answer(t)), num_frames=clip.num_frames, frame_shape=shape, dtype=np.float32
            ),
            kind=self.kind,
            class_ids=self.class_ids,
            labels=labels,
            names=dict(enumerate(AVSBENCH_NAMES)) if self.class_ids == AVSBENCH_CLASSES else {},
            source=f"{self.name} on clip '{clip.clip_id}'",
            notes=self.notes_of(clip),
        )

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """Each of these frames as a clip of its own, the frame and its sound in every place (the paper's use)."""
        indices = check_frames(clip, frames)
        examples = self._examples(clip)
        scores: dict[int, np.ndarray] = {}
        for start in range(0, len(indices), self.batch_frames):
            chunk = indices[start : start + self.batch_frames]
            answers = self.run([ModelWindow(clip, examples, chunk)], alone=True)
            scores |= {t: self._scores(one) for t, one in zip(chunk, answers, strict=True)}
        return scores

    @torch.inference_mode()
    def run(self, windows: Sequence[ModelWindow], *, alone: bool = False) -> np.ndarray:
        """``(n, C, H, W) float32``: :meth:`answer` for all frames of these windows, or for each frame ``alone``."""
        parts = [self._seen_and_heard(window) for window in windows]
        frames, examples, flag = (torch.cat(kind) for kind in zip(*parts, strict=True))
        places = [(window.clip, t) for window in windows for t in window.indices]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.answer(Batch(frames, examples, flag, places), alone=alone).float().cpu().numpy()

    def _seen_and_heard(self, window: ModelWindow) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, log-mel examples and flags of one window; what lies beyond the clip's end is zero."""
        real = [t for t in window.indices if t < window.clip.num_frames]
        frames = normalise(torch.from_numpy(self.resized(window.clip, real)).to(self.device))
        examples = torch.from_numpy(window.examples.of(real)).to(self.device)
        beyond = (0, 0, 0, 0, 0, 0, 0, len(window.indices) - len(real))
        flag = torch.arange(len(window.indices), device=self.device) < len(real)
        return F.pad(frames, beyond), F.pad(examples, beyond), flag.float()

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
    """The answers for some clips, computed in batches of whole windows and kept.

    Frame t of clip i is kept under ``starts[i] + t``; a clip starts where the windows before it end.
    """

    def __init__(self, adapter: PublishedAdapter, clips: Sequence[Clip]) -> None:
        self._adapter, self._together = adapter, adapter.together
        self._per_batch = max(1, adapter.batch_frames // adapter.together)
        self._kept = FrameSpool()
        self._windows: list[tuple[int, ModelWindow]] = []  # with their clip's start
        self._starts: list[int] = []
        for clip in clips:
            self._starts.append(len(self._windows) * self._together)
            examples = adapter._examples(clip)
            cut = windows(clip.num_frames, self._together, padded=adapter.padded)
            self._windows += [(self._starts[-1], ModelWindow(clip, examples, indices)) for indices in cut]

    def of(self, number: int, t: int) -> np.ndarray:
        """The answer for frame t of clip ``number``."""
        place = self._starts[number] + t
        if place not in self._kept:
            self._run(place // self._together // self._per_batch * self._per_batch)
        return self._kept[place]

    def _run(self, first: int) -> None:
        """The batch that begins with the window ``first``; of one that looks back, its own frames are kept."""
        batch = self._windows[first : first + self._per_batch]
        answers = np.split(self._adapter.run([window for _, window in batch]), len(batch))
        for number, (start, window) in enumerate(batch, start=first):
            own = range(number * self._together, (number + 1) * self._together)
            for t, answer in zip(window.indices, answers[number - first], strict=True):
                if start + t in own and start + t not in self._kept and t < window.clip.num_frames:
                    self._kept[start + t] = answer


def windows(num_frames: int, together: int, *, padded: bool = False) -> Iterator[list[int]]:
    """Windows of ``together`` frame indices that cover the clip.

    The last one looks back, a short one repeats its end; or both run on beyond the clip's end (``padded``).

    >>> list(windows(7, 5))
    [[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]
    >>> list(windows(2, 3))
    [[0, 1, 1]]
    >>> list(windows(2, 3, padded=True))
    [[0, 1, 2]]
    """
    for start in range(0, num_frames, together):
        if padded:
            yield list(range(start, start + together))
            continue
        first = max(0, min(start, num_frames - together))
        yield [min(first + i, num_frames - 1) for i in range(together)]
