"""Swin-B without its last stage (Liu et al., 2021)."""

from __future__ import annotations

from torch import Tensor

from ....layers.swin import Swin
from . import Maps


class SwinB(Swin):
    """Three stages of window attention on 4x4 patches; parameter names are the published ones."""

    widths = (128, 256, 512, 512)

    def __init__(self) -> None:
        super().__init__(embed_dim=128, depths=(2, 2, 18), heads=(4, 8, 16))

    def forward(self, image: Tensor) -> Maps:  # type: ignore[override]
        x4, x8, x16 = super().forward(image)
        return x4, x8, x16, x16
