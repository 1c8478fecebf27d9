"""AAVS on a clip: stage 1 says what sounds, stage 2 names it and needs the masks of stage 1."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...audio.vggish import VGGish
from ...errors import CheckpointError, CoPropError
from ...layers.mask2former import LABEL_PX, Output, class_scores
from ...parts import build, part
from ...structures import AVSBENCH_CLASSES, BINARY, Clip, Prediction
from ...weights.variants import Checkpoint, State, Variant, load_variant
from ..base import Adapter, check_count
from ..published import Batch, Precision, PublishedAdapter
from ..sound import load_vggish
from .network import POST_PX, STAGE_1, STAGE_2, UNUSED, UNUSED_IN_STAGE_1, Aavs, AavsConfig, config_of


def _network(state: State, *, published: AavsConfig) -> Aavs:
    return Aavs(config_of(state, published))


Features = Literal["linear", "relu"]
MARKS = "model.model.pixel_level_module.*"
VARIANTS = (
    Variant("aavs", "stage1", partial(_network, published=STAGE_1), (*UNUSED, *UNUSED_IN_STAGE_1), MARKS),
    Variant("aavs", "stage2", partial(_network, published=STAGE_2), UNUSED, MARKS),
)


@part(
    "adapter",
    "aavs",
    needs="checkpoint= and audio_checkpoint= (VGGish); stage 2 also first_stage=",
    weights="published by the authors of Stepping Stones (ECCV 2024)",
    example="checkpoint=avss.pth,first_stage=avs.pth,audio_checkpoint=vggish-10086976.pth",
)
class AavsAdapter(PublishedAdapter):
    """AAVS of "Stepping Stones" (ECCV 2024), Swin-B Mask2Former: stage 1 (binary) and stage 2 (70 classes).

    Frames are resized to 384 x 384, scores are 224 x 224. Frames never meet, so a frame alone gives what it gives in
    its clip. The published scores are no probabilities and the label is their argmax, so labels come along: stage 1
    gives the logit that the published F-score is computed from (``2 S1 - S0``), stage 2 the scores' shares.

    Args:
        checkpoint: the published ``.pth``, safetensors, or a state dict; the variant is read from it.
        audio_checkpoint: VGGish's weights (``vggish-10086976.pth``), which are not in the checkpoint, or
            a loaded VGGish.
        first_stage: for stage 2, where the binary masks come from: a stage-1 checkpoint (``.pth`` or ``.safetensors``),
            saved masks (any other path, see ``read_prediction``), a prediction, an adapter, or a dict that names one.
        features: the published pipeline takes VGGish's features before their last ReLU (``linear``, as towhee has
            them); ``relu`` takes them after it.
        variant: ``stage1`` or ``stage2``.
        device, precision, batch_frames: see :class:`PublishedAdapter`.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: a file is missing or does not fit.
        CoPropError: stage 2 without ``first_stage``, or stage 1 with it.
    """

    variants = VARIANTS
    frame_equals_clip = True
    own_labels = True
    size = (POST_PX, POST_PX)
    score_size = (LABEL_PX, LABEL_PX)

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | VGGish | None = None,
        first_stage: Any = None,
        features: Features = "linear",
        variant: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
        trust_pickle: bool = False,
    ) -> None:
        if features not in ("linear", "relu"):
            raise CoPropError(f"unknown features '{features}'. Allowed: linear, relu.")
        vggish = load_vggish(audio_checkpoint, part=self.name)
        self.variant, network = load_variant(
            checkpoint, self.variants, variant=variant, trust_pickle=trust_pickle, completed=self.completed
        )
        super().__init__(
            network,
            class_ids=AVSBENCH_CLASSES if self.variant.name == "stage2" else BINARY,
            device=device,
            precision=precision,
            batch_frames=batch_frames,
        )
        self.vggish, self.features = vggish.to(self.device), features
        if self.variant.name == "stage2":
            self.kind, self.stretch_s = "probability", 10
        elif first_stage is not None:
            raise CoPropError(f"first_stage= is for stage 2 of {self.name}; this checkpoint is stage 1.")
        shared = {"audio_checkpoint": self.vggish, "features": features, "device": device, "precision": precision}
        shared |= {"name": self.name, **self.first_options()}
        self._first = FirstStage(first_stage, shared) if self.variant.name == "stage2" else None

    @staticmethod
    def completed(state: State) -> State:
        """What the network is filled with, of what a file holds."""
        return state

    def first_options(self) -> dict[str, Any]:
        """Further options of an adapter that is made for the first stage."""
        return {}

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        boost = None
        if self._first is not None:
            sounding = np.stack([self._first.mask(clip, t) for clip, t in batch.places])
            boost = torch.from_numpy(sounding.astype(np.float32)).to(self.device)
        classes, masks = self.look(batch, heard_by(self.vggish, batch.examples, self.features), boost)
        with torch.autocast(self.device.type, enabled=False):  # the label is the argmax of close sums
            scores = class_scores(Output(classes.float(), masks.float()), (POST_PX, POST_PX))
        label = scores.argmax(1, keepdim=True)
        if self._first is None:
            return torch.cat([2 * scores[:, 1:] - scores[:, :1], label], dim=1)
        return torch.cat([scores / scores.sum(1, keepdim=True), label], dim=1)

    def look(self, batch: Batch, audio: Tensor, boost: Tensor | None) -> Output:
        """What the network says of a batch, its sound ``(n, 128)`` and the first stage's masks ``(n, h, w)``."""
        output: Output = self.network(batch.frames, audio, boost=boost)
        return output


def heard_by(vggish: VGGish, examples: Tensor, features: Features = "linear") -> Tensor:
    """``(n, 128)`` VGGish features of ``(n, 1, 96, 64)`` examples, before the last ReLU (``linear``) or after it."""
    if features == "relu":
        heard: Tensor = vggish(examples)
        return heard
    maps = vggish.features(examples).permute(0, 2, 3, 1).flatten(1)
    return vggish.embeddings[:-1](maps)


class FirstStage:
    """The binary masks of stage 1, from wherever they come."""

    def __init__(self, source: Any, shared: Mapping[str, Any]) -> None:
        if source is None:
            raise CoPropError(
                f"stage 2 of {shared['name']} needs first_stage=, the binary masks of stage 1: its checkpoint (.pth), saved masks, "
                "a prediction or an adapter."
            )
        if isinstance(source, (str, Path)):
            source = Path(source)
            if not source.exists():
                raise CheckpointError(f"first_stage: no file or folder at '{source}'.")
            if _is_network(source):
                source = {"checkpoint": source, "variant": "stage1", **shared}
            else:
                source = {"name": "saved_masks", "path": source}
        self._source: Adapter | Prediction = source if isinstance(source, Prediction) else build("adapter", source)
        self._latest: tuple[Clip, Prediction] | None = None

    def mask(self, clip: Clip, t: int) -> np.ndarray:
        """``(H, W) bool`` at the first stage's own size."""
        if self._latest is None or self._latest[0] is not clip:
            given = self._source if isinstance(self._source, Prediction) else self._source.predict(clip)
            self._latest = clip, check_count(given, clip)
        return self._latest[1].label_map(t) != 0


def _is_network(path: Path) -> bool:
    """Whether a file holds weights: a ``.pth``, or safetensors with a network's names (others hold saved scores)."""
    if path.suffix != ".safetensors" or not path.is_file():
        return path.suffix == ".pth"
    try:
        with safe_open(path, "pt") as file:
            return any(fnmatchcase(name, MARKS) for name in file.keys())  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError):
        return False  # the reader of saved masks says what is wrong
