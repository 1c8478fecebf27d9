"""A small network that sees a whole clip: the AVSBench baseline's (TPAVI) on EfficientNet-lite0, narrow enough to be trained.

Where the keyframe processor looks at each frame by itself, here every place looks at the sound of all frames of its group.
It is the base model of the paper's table 1 in a size that a CPU can train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters.published import Batch, Precision, PublishedAdapter
from ..adapters.tpavi.network import GROUP_FRAMES, TpaviHead
from ..errors import CheckpointError, CoPropError
from ..parts import part
from ..structures import BINARY, Clip
from ..weights.variants import Checkpoint, State, Variant, load_variant
from .adapter import HeardFrames
from .backbones import LITE_CHANNELS, Lite0
from .ears import ear_of, open_ear
from .network import MAX_SIDE_PX

MARK = "group_frames"
RARE_LOGIT = -2.0  # of a pixel to be an object's, before anything is learned


@dataclass(frozen=True)
class WholeForm:
    """What fixes the shapes of a network; its weights tell all of it.

    Attributes:
        audio_dim: numbers of a frame's sound.
        width: of the pyramid, a multiple of 8 (TPAVI: 256).
        size: height and width that pictures are made.
    """

    audio_dim: int = 1024
    width: int = 64
    size: tuple[int, int] = (160, 160)
    channels: int = 1

    def __post_init__(self) -> None:
        sides = all(32 <= side <= MAX_SIDE_PX and side % 32 == 0 for side in self.size)
        if self.width < 8 or self.width % 8 or self.audio_dim < 1 or not sides or self.channels != 1:
            raise CoPropError(
                f"a small TPAVI has a width in multiples of 8, one channel and sides of 32 to {MAX_SIDE_PX} px in "
                f"multiples of 32; got {self}."
            )

    @classmethod
    def of(cls, state: State) -> WholeForm:
        """The form that weights are of; where they do not tell, the default's.

        Raises:
            CheckpointError: no form that there is.
        """
        default, size = cls(), state.get("input_px")
        sound = state.get("tpavi_b1.align_channel.weight")
        width, audio_dim = tuple(sound.shape) if sound is not None and sound.ndim == 2 else (0, 0)
        try:
            return cls(
                audio_dim=audio_dim or default.audio_dim,
                width=width or default.width,
                size=tuple(size.tolist()) if size is not None and size.shape == (2,) else default.size,
            )
        except (CoPropError, TypeError) as error:
            raise CheckpointError(f"weights of no small TPAVI that can be: {error}") from error


class WholeClip(TpaviHead):
    """``(N, 3, H, W)`` normalised pictures and ``(N, D)`` sounds to ``(1, N, 1, H, W)`` logits; N is whole groups."""

    together = GROUP_FRAMES

    def __init__(self, form: WholeForm) -> None:
        super().__init__(LITE_CHANNELS, classes=1, audio_bias=True, width=form.width, audio_dim=form.audio_dim)
        self.form = form
        self.backbone = Lite0()
        self.register_buffer("input_px", torch.tensor(form.size))
        self.register_buffer(MARK, torch.tensor(GROUP_FRAMES))
        for i in range(1, 5):  # as published, each attention begins as nothing
            nn.init.zeros_(self.get_parameter(f"tpavi_b{i}.W_z.1.weight"))
        nn.init.constant_(self.get_parameter("output_conv.4.bias"), RARE_LOGIT)

    def forward(self, pictures: Tensor, sounds: Tensor, *, group_frames: int = GROUP_FRAMES) -> Tensor:
        return self.decode(self.backbone(pictures), sounds, group_frames=group_frames)

    def decode(self, maps: Sequence[Tensor], sounds: Tensor, *, group_frames: int = GROUP_FRAMES) -> Tensor:
        """What follows the backbone."""
        return self.read(maps, sounds, group_frames=group_frames)[None]


VARIANTS = (Variant("tpavi_lite", "tpavi_lite", lambda state: WholeClip(WholeForm.of(state)), marks=MARK),)


@part(
    "adapter",
    "tpavi_lite",
    needs="checkpoint= of coprop train tpavi",
    weights="none are published; made by coprop train tpavi",
    example="checkpoint=runs/tpavi/weights.safetensors",
)
class WholeClipAdapter(PublishedAdapter):
    """TPAVI's form on EfficientNet-lite0 and YAMNet, small enough to be trained on a CPU: five frames together, binary masks.

    Args:
        checkpoint: ``weights.safetensors`` of a training, or a state dict.
        audio_checkpoint: YAMNet's file, by default the installed package's; VGGish's where it hears with that.
        device, precision, batch_frames: see :class:`~coprop_plugin.adapters.published.PublishedAdapter`.

    Raises:
        CheckpointError: a file is missing or does not fit.
        CoPropError: YAMNet's package is not installed.
    """

    variants = VARIANTS
    frame_equals_clip = False
    together = GROUP_FRAMES

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
    ) -> None:
        _, network = load_variant(checkpoint, VARIANTS)
        assert isinstance(network, WholeClip)
        super().__init__(network, class_ids=BINARY, device=device, precision=precision, batch_frames=batch_frames)
        self.size = self.score_size = network.form.size
        self._hear = open_ear(ear_of(network.form.audio_dim), audio_checkpoint)

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        group = 1 if alone else GROUP_FRAMES
        logits = self.network(batch.frames, batch.examples.flatten(1), group_frames=group)[-1]
        return F.interpolate(logits, self.score_size, mode="bilinear", align_corners=False)

    def _examples(self, clip: Clip) -> HeardFrames:  # type: ignore[override]
        return HeardFrames(clip, self._hear)
