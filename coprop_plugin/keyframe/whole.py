"""A small network that sees a whole clip: the AVSBench baseline's (TPAVI) on EfficientNet-lite0.

Where the keyframe processor looks at each frame by itself, here every place looks at the sound of all frames of its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..adapters.tpavi.network import GROUP_FRAMES, TpaviHead
from ..parts import part
from ..weights.variants import State, Variant
from .backbones import LITE_CHANNELS, Lite0
from .bases import RARE_LOGIT, SIZE, BaseAdapter, BaseForm

MARK = "group_frames"


@dataclass(frozen=True)
class WholeForm(BaseForm):
    """What fixes the shapes of a small TPAVI."""

    what: ClassVar[str] = "small TPAVI"
    step: ClassVar[int] = 8

    @classmethod
    def of(cls, state: State) -> WholeForm:
        """The form that weights are of.

        Raises:
            CheckpointError: no form that there is.
        """
        sound = state.get("tpavi_b1.align_channel.weight")
        return cls.told(state, None if sound is None else tuple(sound.shape))


class WholeClip(TpaviHead):
    """``(N, 3, H, W)`` normalised pictures and ``(N, D)`` sounds to ``(1, N, 1, H, W)`` logits; N is whole groups."""

    together = GROUP_FRAMES
    subject = "tpavi_lite"

    def __init__(self, form: WholeForm) -> None:
        super().__init__(LITE_CHANNELS, classes=1, audio_bias=True, width=form.width, audio_dim=form.audio_dim)
        self.form = form
        self.backbone = Lite0()
        self.register_buffer(SIZE, torch.tensor(form.size))
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
class WholeClipAdapter(BaseAdapter):
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

    def logits(self, pictures: Tensor, sounds: Tensor, *, alone: bool) -> Tensor:
        return self.network(pictures, sounds, group_frames=1 if alone else GROUP_FRAMES)[-1]
