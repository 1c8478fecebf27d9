"""What the small base models share: heads of published models on EfficientNet-lite0, narrow enough to be trained on a CPU.

They are the base models of the paper's table 1, with a trained network's own misalignment.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, cast

import torch.nn.functional as F
from torch import Tensor

from ..adapters.published import Batch, Precision, PublishedAdapter
from ..errors import CheckpointError, CoPropError
from ..structures import BINARY, Clip
from ..weights.variants import Checkpoint, State, load_variant
from .adapter import HeardFrames
from .ears import ear_of, open_ear
from .network import MAX_SIDE_PX

RARE_LOGIT = -2.0  # of a pixel to be an object's, before anything is learned
SIZE = "input_px"  # the buffer that tells it


@dataclass(frozen=True)
class BaseForm:
    """What fixes the shapes of a small base model; its weights tell all of it.

    Attributes:
        audio_dim: numbers of a frame's sound.
        width: of what follows the backbone (as published: 256).
        size: height and width that pictures are made.
    """

    audio_dim: int = 1024
    width: int = 64
    size: tuple[int, int] = (160, 160)
    channels: int = 1

    what: ClassVar[str]  # in errors
    step: ClassVar[int]  # a width is a multiple of it

    def __post_init__(self) -> None:
        sides = all(32 <= side <= MAX_SIDE_PX and side % 32 == 0 for side in self.size)
        if self.width < self.step or self.width % self.step or self.audio_dim < 1 or not sides or self.channels != 1:
            raise CoPropError(
                f"a {self.what} has a width in multiples of {self.step}, one channel and sides of 32 to {MAX_SIDE_PX} px "
                f"in multiples of 32; got {self}."
            )

    @classmethod
    def told(cls, state: State, shape: tuple[int, ...] | None, **more: int) -> Self:
        """The form that weights are of; where they do not tell, the default's.

        Args:
            state: the weights.
            shape: of the layer that takes in the sound, ``(width, audio_dim)``.
            more: what else they tell.

        Raises:
            CheckpointError: no form that there is.
        """
        default, size = cls(), state.get(SIZE)
        width, audio_dim = shape if shape is not None and len(shape) == 2 else (default.width, default.audio_dim)
        try:
            sides = tuple(size.tolist()) if size is not None and size.shape == (2,) else default.size
            return cls(audio_dim, width, sides, **more)
        except (CoPropError, TypeError) as error:
            raise CheckpointError(f"weights of no {cls.what} that can be: {error}") from error


class BaseAdapter(PublishedAdapter):
    """A small base model as an adapter; each part says what its options are."""

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
    ) -> None:
        _, network = load_variant(checkpoint, self.variants)
        super().__init__(network, class_ids=BINARY, device=device, precision=precision, batch_frames=batch_frames)
        form = cast(BaseForm, network.form)
        self.size = self.score_size = form.size
        self._hear = open_ear(ear_of(form.audio_dim), audio_checkpoint)

    @abstractmethod
    def logits(self, pictures: Tensor, sounds: Tensor, *, alone: bool) -> Tensor:
        """``(N, 1, h, w)`` of ``(N, 3, H, W)`` pictures and ``(N, D)`` sounds."""

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        logits = self.logits(batch.frames, batch.examples.flatten(1), alone=alone)
        return F.interpolate(logits, self.score_size, mode="bilinear", align_corners=False)

    def _examples(self, clip: Clip) -> HeardFrames:  # type: ignore[override]
        return HeardFrames(clip, self._hear)
