"""Training the keyframe processor: on all frames, then on the keyframes (stage 1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters.images import normalise, resize_bilinear
from ..datasets.keyframes import KeyframeList
from ..errors import CoPropError
from ..keyframe.backbones import fill
from ..keyframe.network import VARIANTS, Kpf, KpfForm
from ..propagators.aot.preprocess import nearest
from ..propagators.guides import AudioFeatures
from ..structures import AVSBENCH_CLASSES
from ..weights.variants import load_variant
from .keyframes import data_of
from .losses import IGNORE, keyframe_losses
from .sequences import LabelledClip, SequenceSource

FLIP_SHARE = 0.5
LIGHT = 0.2  # by which share brightness and contrast vary
HEARD_BYTES = 64 << 20  # of clips' audio features, which are the same in every epoch


@dataclass(frozen=True)
class KpfBatch:
    """Frames with their sound and masks.

    Attributes:
        names: clip and frame of each.
        pictures: ``(B, 3, H, W)``, normalised.
        sounds: ``(B, D)``.
        labels: ``(B, H, W) int64``: 0 or 1, or class ids, or IGNORE.
    """

    names: tuple[str, ...]
    pictures: Tensor
    sounds: Tensor
    labels: Tensor

    def __str__(self) -> str:
        return ", ".join(self.names)


class KpfTraining:
    """Trains a keyframe processor on frames (a :class:`~coprop_plugin.training.trainable.Trainable`).

    An item is a clip, of which a step draws some frames that have masks. Adam is the loop's AdamW without weight
    decay. Each decoder layer's masks are compared with the truth, as CATR's are.

    Args:
        network: ``network.to(device)`` decides where it is trained.
        source: clips.
        hear: a clip's ``(T, D)`` audio features.
        keyframes: train on these frames alone; ``None``: on all.
        frames: of each clip in a step.
        freeze_backbone: what sees pictures stays as it is.
        frozen_norms: its batch norms keep the statistics of their weights; without weights they must follow the batches.
        record: what else describes the training.

    Raises:
        CoPropError: keyframes of other data, or no frame of a clip.
    """

    def __init__(
        self,
        network: Kpf,
        source: SequenceSource,
        hear: AudioFeatures,
        *,
        keyframes: KeyframeList | None = None,
        frames: int = 1,
        freeze_backbone: bool = False,
        frozen_norms: bool = True,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        if frames < 1:
            raise CoPropError(f"a step takes 1 or more frames of each clip, got {frames}.")
        if keyframes is not None and dict(keyframes.data) != data_of(source):
            raise CoPropError(
                f"the list of keyframes is of {dict(keyframes.data)}, the training of {data_of(source)}; make a list of "
                "the data that are trained on: coprop data keyframes."
            )
        self.module: nn.Module = network
        self.num_items = len(source)
        self._network, self._source, self._hear, self._keyframes = network, source, hear, keyframes
        self._frames, self._record = frames, {"freeze_backbone": freeze_backbone, **(record or {})}
        self._heard: dict[str, np.ndarray] = {}
        self._heard_bytes = 0
        network.train().requires_grad_(True)
        network.backbone.requires_grad_(not freeze_backbone).train(not frozen_norms)

    def groups(self) -> list[dict[str, Any]]:
        free = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": free, "weight_decay": 0.0}]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> KpfBatch:
        names, pictures, sounds, labels = [], [], [], []
        for item in items:
            labelled, chosen = self._drawn(item, rng)
            heard = self._features(labelled)
            for t in chosen:
                picture, label = self._seen(labelled, t, rng)
                names.append(f"{labelled.clip.clip_id} frame {t}")
                pictures.append(picture)
                sounds.append(torch.from_numpy(heard[t]))
                labels.append(label)
        device = self._network.scales.device
        stacked = (torch.stack(each).to(device) for each in (pictures, sounds, labels))
        return KpfBatch(tuple(names), *stacked)

    def losses(self, batch: KpfBatch, *, progress: float) -> Mapping[str, Tensor]:
        size = batch.labels.shape[1:]
        entropies, dices = [], []
        for logits in self._network(batch.pictures, batch.sounds):
            full = F.interpolate(logits, size, mode="bilinear", align_corners=False)
            entropy, dice = keyframe_losses(full, batch.labels)
            entropies.append(entropy)
            dices.append(dice)
        total = (torch.stack(entropies) + torch.stack(dices)).mean()
        return {"loss": total, "entropy": entropies[-1], "dice": dices[-1]}

    def weights(self) -> Mapping[str, Tensor]:
        return self._network.state_dict()

    def describe(self) -> Mapping[str, Any]:
        return {
            "trains": "kpf",
            "form": asdict(self._network.form),
            "data": self._source.describe(),
            "frames": self._frames,
            "keyframes": self._keyframes.control_points if self._keyframes else None,
            "keyframes_count": sum(map(len, self._keyframes.frames.values())) if self._keyframes else None,
            **self._record,
        }

    def _drawn(self, item: int, rng: np.random.Generator) -> tuple[LabelledClip, list[int]]:
        """A clip, or the next one that has a mask where one may be drawn, and the frames that are."""
        for step in range(self.num_items):
            labelled = self._source[(item + step) % self.num_items]
            num_frames = labelled.clip.num_frames
            allowed = range(num_frames)
            if self._keyframes is not None:
                allowed = self._keyframes.of(labelled.clip.clip_id, num_frames)  # type: ignore[assignment]
            masked = [t for t in allowed if (labelled.labels[t] != IGNORE).any()]
            if masked:
                count = min(self._frames, len(masked))
                return labelled, sorted(rng.choice(masked, count, replace=False).tolist())
        raise CoPropError(f"none of the {self.num_items} clips has a mask in a frame that is to be trained on.")

    def _features(self, labelled: LabelledClip) -> np.ndarray:
        clip = labelled.clip
        if clip.clip_id not in self._heard:
            heard = np.asarray(self._hear(clip), np.float32)
            if self._heard_bytes + heard.nbytes > HEARD_BYTES:
                return heard
            self._heard[clip.clip_id] = heard
            self._heard_bytes += heard.nbytes
        return self._heard[clip.clip_id]

    def _seen(self, labelled: LabelledClip, t: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A frame and its labels at the network's size, mirrored and in another light by chance."""
        size = self._network.form.size
        picture = normalise(resize_bilinear([np.asarray(labelled.clip.frames[t])], size))[0]
        label = nearest(torch.from_numpy(labelled.labels[t].astype(np.int64))[None], size)[0]
        flip = rng.random() < FLIP_SHARE
        contrast, brightness = 1 + LIGHT * rng.uniform(-1, 1, 2)
        picture = picture * float(contrast) + float(brightness) - 1
        if flip:
            picture, label = picture.flip(2), label.flip(1)
        return picture, self._channels(label, labelled)

    def _channels(self, label: Tensor, labelled: LabelledClip) -> Tensor:
        """The labels as channels of the answer."""
        if self._network.form.channels == 1:
            return torch.where(label == IGNORE, IGNORE, (label > 0).long())
        if not labelled.names or int(label.max()) > AVSBENCH_CLASSES[-1]:
            raise CoPropError(
                f"clip '{labelled.clip.clip_id}': its masks are not of AVSBench's classes; train on AVSS, on "
                "moc or avss clips, or a keyframe processor of binary masks."
            )
        return label


def starting_kpf(
    form: KpfForm,
    *,
    checkpoint: str | Path | Mapping[str, Tensor] | None = None,
    backbone_checkpoint: str | Path | None = None,
    seed: int = 0,
) -> tuple[Kpf, bool]:
    """A keyframe processor to be trained, and whether its backbone brings weights.

    Args:
        form: what is wanted; of a checkpoint the form must be this one.
        checkpoint: a whole keyframe processor to go on from (fine-tuning).
        backbone_checkpoint: ImageNet's weights of the backbone; see :func:`coprop_plugin.keyframe.backbones.fill`.
        seed: of the random weights.

    Raises:
        CheckpointError: files that are unsafe, damaged or of another network.
        CoPropError: a checkpoint of another form.
    """
    if checkpoint is not None:
        _, network = load_variant(checkpoint, VARIANTS)
        assert isinstance(network, Kpf)
        if network.form != form:
            raise CoPropError(f"the checkpoint is {network.form}, asked for is {form}; ask for the former.")
        return network, True
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = Kpf(form)
    return network, fill(network.backbone, form.backbone, backbone_checkpoint)
