"""The AVSBench baseline: backbone, dilated pyramid, TPAVI on every stage, top-down fusion.

Zhou et al., "Audio-Visual Segmentation" (ECCV 2022) and "Audio-Visual Segmentation with Semantics" (2023); names and
arithmetic of the published repository (OpenNLPLab/AVSBench), S4, MS3 and AVSS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import pvt_v2, resnet
from ...layers.pyramid import DilatedPyramid
from .attention import CHANNELS, HEARD, Tpavi

Backbone = Literal["pvt_v2_b5", "resnet50"]
GROUP_FRAMES = 5  # hard-coded in the published code, AVSS included: a clip of ten is two groups
UNUSED = ("path4.resConfUnit1.*", *(f"resnet.{name}" for name in resnet.UNUSED))


class ResidualUnit(nn.Module):
    """``relu(v) + conv(relu(conv(relu(v))))``: the published in-place ReLU reaches the skip as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, v: Tensor) -> Tensor:
        v = F.relu(v)
        return v + self.conv2(F.relu(self.conv1(v)))


class FusionBlock(nn.Module):
    """A stage's map joins what comes from above; the result is twice as large (the coarsest block has nothing above)."""

    def __init__(self, width: int, *, coarsest: bool) -> None:
        super().__init__()
        self.resConfUnit1 = None if coarsest else ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)

    def forward(self, x: Tensor, above: Tensor | None) -> Tensor:
        if self.resConfUnit1 is not None and above is not None:
            x = above + self.resConfUnit1(x)
        return F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)


class TpaviHead(nn.Module):
    """What TPAVI makes of the four maps of any backbone and of the sound.

    Args:
        channels: of the maps, the finest first.
        classes: K, channels of the answer.
        audio_bias: see :class:`~.attention.Tpavi`.
        width: of the pyramid and of all that follows; 256 as published.
        audio_dim: numbers of a frame's sound.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        classes: int,
        audio_bias: bool,
        width: int = CHANNELS,
        audio_dim: int = HEARD,
    ) -> None:
        super().__init__()
        for i, in_channels in enumerate(channels, start=1):
            self.add_module(f"conv{i}", DilatedPyramid(in_channels, width))
            self.add_module(f"tpavi_b{i}", Tpavi(audio_bias=audio_bias, width=width, audio_dim=audio_dim))
            self.add_module(f"path{i}", FusionBlock(width, coarsest=i == 4))
        self.output_conv = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(width // 2, width // 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 8, classes, 1),
        )

    def read(
        self, maps: Sequence[Tensor], audio: Tensor, *, flag: Tensor | None = None, group_frames: int = GROUP_FRAMES
    ) -> Tensor:
        """Maps ``(N, C, h, w)`` and sound ``(N, D)`` to logits; N is whole groups, ``flag (N,)`` marks padding by 0."""
        mask = 1 if flag is None else flag.to(maps[0].dtype).view(-1, 1, 1, 1)
        path = None
        for i in (4, 3, 2, 1):
            x = self.get_submodule(f"conv{i}")(maps[i - 1]) * mask
            x = self.get_submodule(f"tpavi_b{i}")(x, audio, group_frames) * mask
            path = self.get_submodule(f"path{i}")(x, path)
            path = path * mask if i > 1 else path
        answer: Tensor = self.output_conv(path) * mask
        return answer


class TpaviNet(TpaviHead):
    """Frames ``(N, 3, H, W)`` and VGGish rows ``(N, 128)`` to logits ``(N, K, H, W)``; H, W are multiples of 32.

    Args:
        backbone: ``"pvt_v2_b5"`` or ``"resnet50"``.
        classes: K, 1 for S4 and MS3 (one logit), 71 for AVSS (background first).
    """

    def __init__(self, *, backbone: Backbone, classes: int) -> None:
        pvt = backbone == "pvt_v2_b5"
        super().__init__(pvt_v2.CHANNELS if pvt else resnet.CHANNELS, classes=classes, audio_bias=classes == 1)
        self.encode = "encoder_backbone" if pvt else "resnet"
        self.add_module(self.encode, pvt_v2.PvtV2B5() if pvt else resnet.ResNet50())

    def forward(
        self, frames: Tensor, audio: Tensor, *, flag: Tensor | None = None, group_frames: int = GROUP_FRAMES
    ) -> Tensor:
        """N is whole groups of ``group_frames``, which are seen together; ``flag (N,)`` of 0 and 1 marks padding."""
        maps = self.get_submodule(self.encode)(frames)
        return self.read(maps, audio, flag=flag, group_frames=group_frames)
