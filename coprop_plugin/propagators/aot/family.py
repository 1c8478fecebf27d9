"""The published models by their names, as parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..guides import AudioFeatures
from .propagator import AOT


class AudioInsertPropagator(AOT):
    """An AOT that hears each frame's sound: the paper's propagator (section 3.4), with weights trained here.

    Args:
        model: the network that the insert was trained with.
        checkpoint: weights with an audio insert, as ``coprop train propagator`` writes them.
        audio: what the insert hears, as in :class:`AOT`.
        audio_checkpoint: VGGish's weights (or the text model's folder).
        options: the others of :class:`AOT`.

    Raises:
        CoPropError: a checkpoint without an insert (the plain models take those), or no audio model.
        CheckpointError: as in :class:`AOT`.
    """

    def __init__(
        self,
        model: str = "r50_aotl",
        *,
        audio: str | AudioFeatures = "vggish",
        audio_checkpoint: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, audio=audio, audio_checkpoint=audio_checkpoint, **options)


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
