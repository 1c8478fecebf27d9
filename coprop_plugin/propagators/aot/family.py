"""The published models by their names, as parts."""

from __future__ import annotations

from typing import Any

from .propagator import AOT


def aott(**options: Any) -> AOT:
    """AOT-T: MobileNetV2, one layer, remembers the anchor and the last frame; the fastest."""
    return AOT("aott", **options)


def aots(**options: Any) -> AOT:
    """AOT-S: MobileNetV2, two layers, remembers the anchor and the last frame."""
    return AOT("aots", **options)


def aotb(**options: Any) -> AOT:
    """AOT-B: MobileNetV2, three layers, remembers the anchor and the last frame."""
    return AOT("aotb", **options)


def aotl(**options: Any) -> AOT:
    """AOT-L: MobileNetV2, three layers, remembers every fifth frame."""
    return AOT("aotl", **options)


def r50_aotl(**options: Any) -> AOT:
    """R50-AOT-L: ResNet-50, three layers, remembers every fifth frame; the paper's propagator."""
    return AOT("r50_aotl", **options)


def swinb_aotl(**options: Any) -> AOT:
    """SwinB-AOT-L: Swin-B, three layers, remembers every fifth frame; the most exact and the slowest."""
    return AOT("swinb_aotl", **options)


def r50_deaotl(**options: Any) -> AOT:
    """R50-DeAOT-L: ResNet-50, three gated layers, remembers every fifth frame."""
    return AOT("r50_deaotl", **options)
