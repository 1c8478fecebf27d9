"""AVSegFormer: audio-conditioned queries over a deformable encoder, mixed back into one mask feature.

Gao et al., "AVSegFormer: Audio-Visual Segmentation with Transformer" (AAAI 2024); names and arithmetic of the
published repository (vvvb-github/AVSegFormer). Frames never meet: the network is the same function of each frame and
its audio, whatever stands beside it in the batch.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

from ...audio.vggish import VGGish
from ...layers import pvt_v2, resnet
from . import head

Backbone = Literal["pvt_v2_b5", "resnet50"]
UNUSED = (*(f"head.{name}" for name in head.UNUSED), *(f"backbone.{name}" for name in resnet.UNUSED))


class Output(NamedTuple):
    """Raw ``logits (N, K, 4 h1, 4 w1)`` and the gated ``mask_feature (N, 256, h1, w1)``; (h1, w1) is ceil(size / 4)."""

    logits: Tensor
    mask_feature: Tensor


class AVSegFormer(nn.Module):
    """Frames ``(N, 3, H, W)`` and their log-mel examples ``(N, 1, 96, 64)`` to :class:`Output`.

    Args:
        backbone: ``"pvt_v2_b5"`` or ``"resnet50"``.
        classes: K, 1 for S4 and MS3 (one logit), 71 for AVSS (background first).
    """

    def __init__(self, *, backbone: Backbone, classes: int) -> None:
        super().__init__()
        pvt = backbone == "pvt_v2_b5"
        self.vggish = VGGish()
        self.backbone = pvt_v2.PvtV2B5() if pvt else resnet.ResNet50()
        self.head = head.Head(pvt_v2.CHANNELS if pvt else resnet.CHANNELS, classes)
        self.audio_proj = nn.Linear(128, 256)

    def forward(self, frames: Tensor, log_mel: Tensor, *, flag: Tensor | None = None) -> Output:
        """``flag (N,)`` of 0 and 1 switches padding frames off (their outputs are exactly 0); the audio is not masked."""
        audio = self.audio_proj(self.vggish(log_mel))[:, None]
        maps = self.backbone(frames)
        if flag is None:
            return Output(*self.head(maps, audio))
        mask = flag.to(frames.dtype).view(-1, 1, 1, 1)
        logits, feature = self.head([x * mask for x in maps], audio)
        return Output(logits * mask, feature * mask)
