"""A small network of AVSegFormer's own layers on EfficientNet-lite0: queries made of the sound over a deformable encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ..adapters.avsegformer.head import GROUPS, Head
from ..adapters.avsegformer.transformer import Form
from ..errors import CoPropError
from ..layers.deformable import DeformableAttention
from ..parts import part
from ..weights.variants import State, Variant
from .backbones import LITE_CHANNELS, Lite0
from .bases import RARE_LOGIT, SIZE, BaseAdapter, BaseForm

MARK, LAYERS = "head.shift", "head.transformer.encoder.layers."


@dataclass(frozen=True)
class FormerForm(BaseForm):
    """What fixes the shapes of a small AVSegFormer.

    Attributes:
        queries: of a frame (as published: 300).
        layers: of each of the three stacks (6).
    """

    queries: int = 32
    layers: int = 2

    what: ClassVar[str] = "small AVSegFormer"
    step: ClassVar[int] = 2 * GROUPS  # a group norm of one number is none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries < 1 or self.layers < 1:
            raise CoPropError(
                f"a {self.what} has 1 or more queries and layers; got {self.queries} queries and {self.layers} layers."
            )

    @classmethod
    def of(cls, state: State) -> FormerForm:
        """The form that weights are of.

        Raises:
            CheckpointError: no form that there is.
        """
        sound, query = state.get("audio_proj.weight"), state.get("head.learnable_query.weight")
        layers = sum(name.startswith(LAYERS) and name.endswith("norm1.weight") for name in state)
        more = {"queries": len(query), "layers": layers} if query is not None and query.ndim == 2 and layers else {}
        return cls.told(state, None if sound is None else tuple(sound.shape), **more)


class _ShiftedHead(Head):
    """As published, and a number that shifts all logits: most pixels are no object's, which is learned at once."""

    def __init__(self, form: FormerForm) -> None:
        super().__init__(LITE_CHANNELS, 1, Form(form.width, form.queries, form.layers))
        self.shift = nn.Parameter(torch.tensor(RARE_LOGIT))

    def forward(self, maps: list[Tensor], audio: Tensor) -> tuple[Tensor, Tensor]:
        logits, feature = super().forward(maps, audio)
        return logits + self.shift, feature


class Former(nn.Module):
    """``(N, 3, H, W)`` normalised pictures and ``(N, D)`` sounds to ``(1, N, 1, H, W)`` logits; frames never meet."""

    together = 1
    subject = "avsegformer_lite"

    def __init__(self, form: FormerForm) -> None:
        super().__init__()
        self.form = form
        self.backbone = Lite0()
        self.audio_proj = nn.Linear(form.audio_dim, form.width)
        self.head = _ShiftedHead(form)
        self.register_buffer(SIZE, torch.tensor(form.size))
        for module in self.head.modules():
            if isinstance(module, DeformableAttention):
                look_around(module)

    def forward(self, pictures: Tensor, sounds: Tensor) -> Tensor:
        return self.decode(self.backbone(pictures), sounds)

    def decode(self, maps: Sequence[Tensor], sounds: Tensor) -> Tensor:
        """What follows the backbone."""
        logits, _ = self.head(list(maps), self.audio_proj(sounds)[:, None])
        return cast(Tensor, logits)[None]


@torch.no_grad()
def look_around(attention: DeformableAttention) -> None:
    """Before training each head looks into its own direction, its points one step further each, all with the same weight.

    Zhu et al., "Deformable DETR" (2021), appendix A.4.
    """
    nn.init.zeros_(attention.sampling_offsets.weight)
    nn.init.zeros_(attention.attention_weights.weight)
    nn.init.zeros_(attention.attention_weights.bias)
    heads, levels, points = attention.heads, attention.levels, attention.points
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
    direction = direction / direction.abs().amax(dim=-1, keepdim=True)
    steps = torch.arange(1, points + 1)
    offsets = (direction[:, None, None] * steps[:, None]).expand(heads, levels, points, 2)
    attention.sampling_offsets.bias.copy_(offsets.flatten())


VARIANTS = (Variant("avsegformer_lite", "avsegformer_lite", lambda state: Former(FormerForm.of(state)), marks=MARK),)


@part(
    "adapter",
    "avsegformer_lite",
    needs="checkpoint= of coprop train avsegformer",
    weights="none are published; made by coprop train avsegformer",
    example="checkpoint=runs/avsegformer/weights.safetensors",
)
class FormerAdapter(BaseAdapter):
    """AVSegFormer's layers on EfficientNet-lite0 and YAMNet, small enough to be trained on a CPU: frame by frame, binary masks.

    Args:
        checkpoint: ``weights.safetensors`` of a training, or a state dict.
        audio_checkpoint: YAMNet's file, by default the installed package's; VGGish's where it hears with that.
        device, precision, batch_frames: see :class:`~coprop_plugin.adapters.published.PublishedAdapter`.

    Raises:
        CheckpointError: a file is missing or does not fit.
        CoPropError: YAMNet's package is not installed.
    """

    variants = VARIANTS
    frame_equals_clip = True

    def logits(self, pictures: Tensor, sounds: Tensor, *, alone: bool) -> Tensor:
        return self.network(pictures, sounds)[-1]
