"""Training the keyframe processor: on all frames, then on the keyframes (stage 1 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters.images import normalise, resize_bilinear
from ..datasets.keyframes import KeyframeList
from ..errors import CoPropError
from ..keyframe.backbones import fill
from ..keyframe.former import Former
from ..keyframe.network import VARIANTS, Kpf, KpfForm
from ..keyframe.whole import WholeClip
from ..propagators.aot.preprocess import nearest
from ..propagators.guides import AudioFeatures
from ..structures import AVSBENCH_CLASSES
from ..weights.variants import load_variant
from .keyframes import data_of
from .losses import IGNORE, keyframe_losses
from .seen import SeenClips, stacked
from .sequences import LabelledClip, SeenClip, SequenceSource

Small = TypeVar("Small", WholeClip, Former)
FLIP_SHARE = 0.5
LIGHT = 0.2  # by which share brightness and contrast vary
HEARD_BYTES = 64 << 20  # of clips' audio features, which are the same in every epoch


@dataclass(frozen=True)
class KpfBatch:
    """Frames with their sound and masks.

    Attributes:
        names: clip and frame of each.
        pictures: ``(B, 3, H, W)``, normalised; ``None`` where they were seen already.
        sounds: ``(B, D)``.
        labels: ``(B, H, W) int64``: 0 or 1, or class ids, or IGNORE.
        maps: what the backbone saw, where it was kept.
    """

    names: tuple[str, ...]
    pictures: Tensor | None
    sounds: Tensor
    labels: Tensor
    maps: Sequence[Tensor] = ()

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class Look:
    """How the frames of a clip are varied in a step: mirrored, and in another light."""

    flip: bool
    contrast: float
    brightness: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Look:
        flip = bool(rng.random() < FLIP_SHARE)
        contrast, brightness = (float(x) for x in LIGHT * rng.uniform(-1, 1, 2))
        return cls(flip, 1 + contrast, brightness)


class KpfTraining:
    """Trains a keyframe processor on frames (a :class:`~coprop_plugin.training.trainable.Trainable`).

    An item is a clip, of which a step draws some frames that have masks. Adam is the loop's AdamW without weight
    decay. Each decoder layer's masks are compared with the truth, as CATR's are.

    The small base models are trained by the same steps; TPAVI's frames follow one another and are seen together.

    Args:
        network: ``network.to(device)`` decides where it is trained.
        source: clips.
        hear: a clip's ``(T, D)`` audio features.
        keyframes: train on these frames alone; ``None``: on all.
        frames: of each clip in a step.
        freeze_backbone: what sees pictures stays as it is.
        frozen_norms: its batch norms keep the statistics of their weights; without weights they must follow the batches.
        seen: what the frozen backbone saw of these clips; frames are then neither mirrored nor put in another light.
        record: what else describes the training.

    Raises:
        CoPropError: keyframes of other data, or no frame of a clip.
    """

    def __init__(
        self,
        network: Kpf | WholeClip | Former,
        source: SequenceSource,
        hear: AudioFeatures,
        *,
        keyframes: KeyframeList | None = None,
        frames: int = 1,
        freeze_backbone: bool = False,
        frozen_norms: bool = True,
        seen: SeenClips | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        if frames < 1 or frames % network.together:
            raise CoPropError(
                f"a step takes {network.together} or more frames of each clip in whole groups, got {frames}."
            )
        if seen is not None and not (freeze_backbone and frozen_norms):
            raise CoPropError("what a backbone saw can be kept only while it stays as it is: freeze it.")
        if keyframes is not None and dict(keyframes.data) != data_of(source):
            raise CoPropError(
                f"the list of keyframes is of {dict(keyframes.data)}, the training of {data_of(source)}; make a list of "
                "the data that are trained on: coprop data keyframes."
            )
        self.module: nn.Module = network
        self.num_items = len(source)
        self._network, self._source, self._hear, self._keyframes = network, source, hear, keyframes
        self._frames, self._seen_clips = frames, seen
        self._record = {"freeze_backbone": freeze_backbone, "varied": seen is None, **(record or {})}
        self._heard: dict[str, np.ndarray] = {}
        self._heard_bytes = 0
        network.train().requires_grad_(True)
        network.backbone.requires_grad_(not freeze_backbone).train(not frozen_norms)

    def groups(self) -> list[dict[str, Any]]:
        free = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": free, "weight_decay": 0.0}]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> KpfBatch:
        names, pictures, maps, sounds, labels = [], [], [], [], []
        for item in items:
            clip, chosen = self._drawn(item, rng)
            if isinstance(clip, SeenClip):
                for t in chosen:
                    names.append(f"{clip.clip_id} frame {t}")
                    sounds.append(torch.from_numpy(clip.heard[t]))
                    maps.append([level[t] for level in clip.maps])
                    label = torch.from_numpy(clip.labels[t].astype(np.int64))
                    labels.append(self._channels(label, clip.clip_id, named=bool(clip.names)))
                continue
            heard, look = self._features(clip), Look.drawn(rng)
            for t in chosen:
                picture, label = self._seen(clip, t, look)
                names.append(f"{clip.clip.clip_id} frame {t}")
                sounds.append(torch.from_numpy(heard[t]))
                pictures.append(picture)
                labels.append(label)
        device = self._network.get_buffer("input_px").device
        return KpfBatch(
            tuple(names),
            torch.stack(pictures).to(device) if pictures else None,
            torch.stack(sounds).to(device),
            torch.stack(labels).to(device),
            stacked(maps, device) if maps else (),
        )

    def losses(self, batch: KpfBatch, *, progress: float) -> Mapping[str, Tensor]:
        size = batch.labels.shape[1:]
        entropies, dices = [], []
        maps = batch.maps if batch.pictures is None else self._network.backbone(batch.pictures)
        for logits in self._network.decode(maps, batch.sounds):
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
            "trains": self._network.subject,
            "form": asdict(self._network.form),
            "data": self._source.describe(),
            "frames": self._frames,
            "keyframes": self._keyframes.control_points if self._keyframes else None,
            "keyframes_count": sum(map(len, self._keyframes.frames.values())) if self._keyframes else None,
            **self._record,
        }

    def _drawn(self, item: int, rng: np.random.Generator) -> tuple[LabelledClip | SeenClip, list[int]]:
        """A clip, or the next one that has a mask where one may be drawn, and the frames that are."""
        for step in range(self.num_items):
            number = (item + step) % self.num_items
            clip: LabelledClip | SeenClip
            clip = self._source[number] if self._seen_clips is None else self._seen_clips[number]
            clip_id = clip.clip_id if isinstance(clip, SeenClip) else clip.clip.clip_id
            num_frames = len(clip.labels)
            if self._network.together > 1:
                if num_frames < self._frames:
                    raise CoPropError(
                        f"clip '{clip_id}' has {num_frames} frames; a step wants {self._frames} in a row."
                    )
                start = int(rng.integers(num_frames - self._frames + 1))
                return clip, list(range(start, start + self._frames))
            allowed = range(num_frames)
            if self._keyframes is not None:
                allowed = self._keyframes.of(clip_id, num_frames)  # type: ignore[assignment]
            masked = [t for t in allowed if (clip.labels[t] != IGNORE).any()]
            if masked:
                count = min(self._frames, len(masked))
                return clip, sorted(rng.choice(masked, count, replace=False).tolist())
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

    def _seen(self, labelled: LabelledClip, t: int, look: Look) -> tuple[Tensor, Tensor]:
        """A frame and its labels at the network's size, mirrored and in another light as all of its clip."""
        size = self._network.form.size
        picture = normalise(resize_bilinear([np.asarray(labelled.clip.frames[t])], size))[0]
        label = nearest(torch.from_numpy(labelled.labels[t].astype(np.int64))[None], size)[0]
        picture = picture * look.contrast + look.brightness
        if look.flip:
            picture, label = picture.flip(2), label.flip(1)
        return picture, self._channels(label, labelled.clip.clip_id, named=bool(labelled.names))

    def _channels(self, label: Tensor, clip_id: str, *, named: bool) -> Tensor:
        """The labels as channels of the answer."""
        if self._network.form.channels == 1:
            return torch.where(label == IGNORE, IGNORE, (label > 0).long())
        if not named or int(label.max()) > AVSBENCH_CLASSES[-1]:
            raise CoPropError(
                f"clip '{clip_id}': its masks are not of AVSBench's classes; train on AVSS, on "
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


def starting_base(make: Callable[[], Small], *, backbone_checkpoint: str | Path | None = None, seed: int = 0) -> Small:
    """A small base model to be trained: a backbone with its weights, by default the installed package's, the rest random.

    Args:
        make: builds it.

    Raises:
        CheckpointError: a file that is unsafe, damaged or of another network.
        CoPropError: the package is not installed.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = make()
    fill(network.backbone, "lite0", backbone_checkpoint)
    return network
