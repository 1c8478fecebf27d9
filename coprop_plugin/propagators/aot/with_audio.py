"""The paper's propagator as a part of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError, CoPropError
from ...parts import part
from ...weights.checkpoint import read_state_dict
from ...weights.unfilled import unfilled
from ..guides import AudioFeatures
from .config import config_of
from .network import INSERT, AOTNetwork
from .propagator import AOT

# AOT-B and AOT-L are one network; the one that remembers every fifth frame stands first.
LONG_MEMORY_FIRST = ("r50_aotl", "aotl", "r50_deaotl", "swinb_aotl", "aots", "aott", "aotb")


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
        model: the network that the insert was trained with; by default the one that the weights fit.
        checkpoint: weights with an audio insert, as ``coprop train propagator`` writes them.
        audio: what the insert hears, as in :class:`AOT`; by default what it was trained with.
        audio_checkpoint: VGGish's weights (or the text model's folder).
        options: the others of :class:`AOT`.

    Raises:
        CoPropError: a checkpoint without an insert (the plain models take those), or no audio model.
        CheckpointError: as in :class:`AOT`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        checkpoint: str | Path | Mapping[str, Tensor] | None = None,
        audio: str | AudioFeatures | None = None,
        audio_checkpoint: str | Path | None = None,
        **options: Any,
    ) -> None:
        if checkpoint is not None and not isinstance(checkpoint, Mapping):
            path, trusted = checkpoint, options.get("trust_pickle", False)
            checkpoint = read_state_dict(path, trust_pickle=trusted)
        if checkpoint is not None and not any(name.startswith(INSERT) for name in checkpoint):
            raise CoPropError(
                "audio_insert: the weights hold no audio insert; a plain model (r50_aotl, …) takes them, and "
                "`coprop train propagator` trains an insert."
            )
        if model is None:
            model = "r50_aotl" if checkpoint is None else fitting_model(checkpoint)
        super().__init__(model, checkpoint=checkpoint, audio=audio, audio_checkpoint=audio_checkpoint, **options)


def fitting_model(state: Mapping[str, Tensor]) -> str:
    """The name of the network that weights are of, by the names and shapes that they hold.

    Raises:
        CheckpointError: they fit no network.
    """
    held = {name: tuple(value.shape) for name, value in state.items() if not name.startswith(INSERT)}
    for name in LONG_MEMORY_FIRST:
        with unfilled():
            own = {key: tuple(value.shape) for key, value in AOTNetwork(config_of(name)).state_dict().items()}
        if all(held.get(key) == shape for key, shape in own.items() if not key.endswith("relative_position_index")):
            return name
    raise CheckpointError(
        f"audio_insert: the weights fit none of the networks {', '.join(LONG_MEMORY_FIRST)}; name one with model=."
    )
