"""The keyframe processor as an adapter: each frame by itself, with its sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..adapters.published import Batch, Precision, PublishedAdapter
from ..audio.vggish import VGGish
from ..errors import CheckpointError
from ..parts import part
from ..propagators.guides import AudioFeatures
from ..structures import AVSBENCH_CLASSES, BINARY, Clip
from ..weights.variants import Checkpoint, load_variant
from .ears import ear_of, open_ear
from .network import VARIANTS, Kpf


@part(
    "adapter",
    "kpf",
    needs="checkpoint= of coprop train kpf; audio_checkpoint= (VGGish) where it hears with that",
    weights="none are published; made by coprop train kpf",
    example="checkpoint=runs/kpf/weights.safetensors",
)
class KpfAdapter(PublishedAdapter):
    """The paper's keyframe processor (section 3.3): one frame and its sound, binary masks or AVSBench's 70 classes.

    Meant for ``mode="frame"``, where it is asked for keyframes alone; whole clips give the same scores frame by frame.
    What it sees and hears with (ResNet-50, PVT-v2-B5 or EfficientNet-lite0; VGGish, YAMNet or log-mel) its weights tell.

    Args:
        checkpoint: ``weights.safetensors`` of a training, or a state dict.
        audio_checkpoint: VGGish's weights, or a loaded VGGish; or YAMNet's, by default the installed package's.
        device, precision, batch_frames: see :class:`~coprop_plugin.adapters.published.PublishedAdapter`.

    Raises:
        CheckpointError: a file is missing or does not fit.
        CoPropError: YAMNet's package is not installed.
    """

    variants = VARIANTS
    frame_equals_clip = True

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | VGGish | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
    ) -> None:
        _, network = load_variant(checkpoint, VARIANTS)
        assert isinstance(network, Kpf)
        form = network.form
        known = {1: BINARY, len(AVSBENCH_CLASSES) + 1: AVSBENCH_CLASSES}
        if form.channels not in known:
            raise CheckpointError(
                f"weights of {form.channels} channels; a keyframe processor has one of {list(known)}."
            )
        super().__init__(
            network, class_ids=known[form.channels], device=device, precision=precision, batch_frames=batch_frames
        )
        self.size = self.score_size = form.size
        self._hear = open_ear(ear_of(form.audio_dim), audio_checkpoint)

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        logits = self.network(batch.frames, batch.examples.flatten(1))[-1]
        return F.interpolate(logits, self.score_size, mode="bilinear", align_corners=False)

    def _examples(self, clip: Clip) -> HeardFrames:  # type: ignore[override]
        return HeardFrames(clip, self._hear)


class HeardFrames:
    """The features of a clip's frames, listened to when first asked; stands where others have log-mel examples."""

    def __init__(self, clip: Clip, hear: AudioFeatures) -> None:
        self._clip, self._hear = clip, hear
        self._features: np.ndarray | None = None

    def of(self, frames: Sequence[int]) -> np.ndarray:
        """``(n, 1, 1, D) float32``."""
        if self._features is None:
            self._features = self._hear(self._clip)
        return np.asarray(self._features[list(frames)], np.float32)[:, None, None]
