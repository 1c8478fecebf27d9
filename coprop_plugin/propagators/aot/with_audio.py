"""The paper's propagator as a part of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...parts import part
from ..guides import AudioFeatures
from .propagator import AOT


@part(
    "propagator",
    "audio_insert",
    needs="checkpoint= with an audio insert, and audio_checkpoint= unless it hears log-mel",
    weights="`coprop train propagator` writes them",
    takes=("propagators.aot.propagator:AOT",),
    example="checkpoint=weights.safetensors,audio_checkpoint=vggish-10086976.pth",
)
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
