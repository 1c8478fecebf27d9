"""Training AOT, and the audio insert on top of it (stage 2 of the paper), with AOT's losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CoPropError, unknown_name
from ..propagators.aot.config import MAX_OBJECTS
from ..propagators.aot.encoders import Maps
from ..propagators.aot.engine import Engine
from ..propagators.aot.network import AOTNetwork, Features
from ..propagators.aot.objects import UNUSED_LOGIT
from ..propagators.aot.preprocess import most_likely, network_size, resize_frame, to_input
from ..propagators.audio_insert import AudioTokens
from ..propagators.guides import AudioFeatures, TextGuide
from .losses import IGNORE, mask_loss
from .moved import moved
from .networks import freeze_first_stages, thaw_norms
from .seen import SeenClips, stacked
from .sequences import Heard, MaskedSequence, SequenceRule, SequenceSource, draw_sequence

Part = Literal["insert", "all"]
Sound = Literal["true", "shuffled"]
WEIGHT_DECAY = 0.07
NOT_DECAYED = ("bias", "relative_emb_v", "conv_out.weight", "relative_position_bias_table")
PRETRAINED_ENCODER_SCALE = 0.1  # of the learning rate
OWN_MASKS_FROM = 0.5  # share of the training after which the network's own masks are fed back


@dataclass(frozen=True)
class Batch:
    """Sequences side by side.

    Attributes:
        names: of the B sequences.
        images: ``(L * B, 3, H, W)``: all first frames, then all second ones, …; ``None`` where they were seen already.
        labels: ``(L, B, H, W) int64``, identities, 0 and IGNORE.
        used: ``(B, 11) bool``: the background, and the identities that a sequence has.
        audio: of the L * B frames.
        maps: what the network sees of the frames, where it was kept.
    """

    names: tuple[str, ...]
    images: Tensor | None
    labels: Tensor
    used: Tensor
    audio: AudioTokens | None
    maps: Maps | None = None

    def __str__(self) -> str:
        return ", ".join(self.names)


class PropagatorTraining:
    """Trains an AOT network on sequences (a :class:`~coprop_plugin.training.trainable.Trainable`).

    As published: true masks are fed back in the first half, the network's own in the second, when the identity bank
    rests; the first frame's own mask counts with a weight that falls from 1 to 0. Left out of the published recipe:
    drop-path and the moving average of the weights.

    Args:
        network: with an audio insert or without; ``network.to(device)`` decides where it is trained.
        source: clips.
        rule: which sequences; its context must be the insert's.
        part: train the ``insert`` alone, or ``all``.
        pretrained: whether the network brings weights: its norms, the stem and the first stage then stay as they are
            and the encoder learns at a tenth of the rate. Otherwise norms follow the batches.
        features: if there is an insert, a clip's ``(T, D)`` audio features, or what gives tokens of categories' names.
        sound: ``true``, or ``shuffled``: each sequence hears the next one of its batch (the control of a study).
        moves: whether the pictures of a sequence are turned, shifted, zoomed, bent and recoloured besides.
        seen: what the network sees of these clips (:func:`seen_clips`), kept; they are then neither moved nor mirrored.
        record: what else describes the training: model, checkpoint, kind of features.

    Raises:
        CoPropError: a size that the network does not have, an insert without features or the other way round, or
            nothing to train.
    """

    def __init__(
        self,
        network: AOTNetwork,
        source: SequenceSource,
        rule: SequenceRule,
        *,
        part: Part = "insert",
        pretrained: bool = True,
        features: Heard | None = None,
        sound: Sound = "true",
        moves: bool = False,
        seen: SeenClips | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        _check(network, rule, part=part, pretrained=pretrained, features=features, sound=sound)
        if seen is not None and (part != "insert" or moves or rule.flip_share):
            raise CoPropError(
                "what a network sees can be kept only while it stays as it is and the pictures too: train the insert alone, "
                "with pictures that are neither moved nor mirrored."
            )
        self.module: nn.Module = network
        self.num_items = len(source)
        self._network, self._source, self._rule, self._features = network, source, rule, features
        self._moved, self._clips = moves, source if seen is None else seen
        self._part, self._pretrained, self._sound, self._record = part, pretrained, sound, dict(record or {})
        self._engine = Engine(network)
        network.requires_grad_(part == "all")
        for name, parameter in network.named_parameters():
            if name.startswith(network.kept_elsewhere):
                parameter.requires_grad_(False)
        if network.audio_insert is not None:
            network.audio_insert.requires_grad_(True)
        if part == "all" and pretrained:
            freeze_first_stages(network)
        elif part == "all":
            thaw_norms(network)

    def groups(self) -> list[dict[str, Any]]:
        """Encoder and the rest, each with weight decay or without."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self._network.named_parameters():
            if not parameter.requires_grad:
                continue
            known = (self._pretrained and name.startswith("encoder.")) or name.startswith(self._network.slow)
            scale = PRETRAINED_ENCODER_SCALE if known else 1.0
            decay = 0.0 if parameter.ndim <= 1 or name.endswith(NOT_DECAYED) else WEIGHT_DECAY
            groups.setdefault((scale, decay), []).append(parameter)
        return [{"params": params, "scale": scale, "weight_decay": decay} for (scale, decay), params in groups.items()]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        if self._sound == "shuffled" and len(items) < 2:
            raise CoPropError(
                "a sequence hears another one of its batch, so shuffled sound needs a batch of 2 or more."
            )
        sequences = [draw_sequence(self._clips, item, self._rule, rng, self._features) for item in items]
        if self._moved:
            sequences = [moved(sequence, rng) for sequence in sequences]
        device = self._network.encoder_projector.weight.device
        shown = [(sequence, t) for t in range(self._rule.length) for sequence in sequences]
        pictures = [sequence.frames[t] for sequence, t in shown if sequence.frames is not None]
        rows = [[level[t] for level in sequence.maps] for sequence, t in shown if sequence.maps]
        used = torch.zeros(len(items), MAX_OBJECTS + 1, dtype=torch.bool)
        for row, sequence in zip(used, sequences, strict=True):
            row[[0, *sequence.identities]] = True
        return Batch(
            tuple(sequence.name for sequence in sequences),
            to_input(pictures, device) if pictures else None,
            torch.from_numpy(np.stack([s.labels for s in sequences], axis=1)).to(device),
            used.to(device),
            self._audio(sequences),
            tuple(stacked(rows, device)) if rows else None,  # type: ignore[arg-type]
        )

    def losses(self, batch: Batch, *, progress: float) -> Mapping[str, Tensor]:
        own = progress >= OWN_MASKS_FROM
        self._network.patch_wise_id_bank.requires_grad_(self._part == "all" and not own)
        logits = torch.stack(list(self._logits(batch, own=own)))
        frames, labels = logits.flatten(0, 1), batch.labels.flatten(0, 1)
        losses = mask_loss(frames, labels, progress=progress).unflatten(0, batch.labels.shape[:2])
        counted = (batch.labels != IGNORE).flatten(2).any(dim=2)[1:]
        following = (losses[1:] * counted).sum() / counted.sum().clamp(min=1)
        first = losses[0].mean()
        return {"loss": following + (1 - progress) * first, "following": following, "first": first}

    def weights(self) -> Mapping[str, Tensor]:
        """The state dict under the published names (norms that were trained have one entry more while they are)."""
        elsewhere, state = self._network.kept_elsewhere, self._network.state_dict()
        return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked") and not k.startswith(elsewhere)}

    def describe(self) -> Mapping[str, Any]:
        return {
            "trains": "propagator",
            "part": self._part,
            "pretrained": self._pretrained,
            "sound": self._sound if self._features else "none",
            "data": self._source.describe(),
            "sequences": asdict(self._rule),
            **({"moved": True} if self._moved else {}),
            **({} if self._clips is self._source else {"seen": True}),
            **self._record,
        }

    def _logits(self, batch: Batch, *, own: bool) -> Iterator[Tensor]:
        """``(B, 11, H, W)`` of each frame, the first one with its mask given."""
        num_sequences, size = len(batch.names), batch.labels.shape[-2:]
        maps = batch.maps
        if maps is None:
            assert batch.images is not None, "a batch holds pictures, or what was seen of them"
            maps = self._network.look(batch.images)
        features = self._network.hear(maps, batch.audio)
        memory = self._engine.new_memory()
        for t, labels in enumerate(batch.labels):
            current = features.rows(slice(t * num_sequences, (t + 1) * num_sequences))
            if t == 0:
                tokens = self._engine.reference(memory, current, labels)
            else:
                tokens = self._engine.propagate(memory, current)
            logits = self._decode(tokens, current, size).masked_fill(~batch.used[:, :, None, None], UNUSED_LOGIT)
            yield logits
            if 0 < t < len(batch.labels) - 1:
                predicted = most_likely(logits.detach())
                fed = predicted if own else torch.where(labels == IGNORE, predicted, labels)
                self._engine.update(memory, current, fed)

    def _decode(self, tokens: Tensor, features: Features, size: torch.Size) -> Tensor:
        logits = self._engine.decode(tokens, features, [self._rule.num_identities] * len(tokens))
        return self._network.resize(logits, (size[0], size[1]))

    def _audio(self, sequences: Sequence[MaskedSequence]) -> AudioTokens | None:
        """Frame by frame as the images are."""
        heard = sequences if self._sound == "true" else [*sequences[1:], sequences[0]]
        audio = [s.audio for s in heard if s.audio is not None]
        if not audio:
            return None
        frames = [tokens.rows(slice(t, t + 1)) for t in range(self._rule.length) for tokens in audio]
        return AudioTokens.join(frames).to(self._network.encoder_projector.weight.device)


class _Eye(nn.Module):
    """The part of a network that an insert alone does not train."""

    def __init__(self, network: AOTNetwork) -> None:
        super().__init__()
        self.encoder, self.encoder_projector = network.encoder, network.encoder_projector
        self._look = network.look

    def forward(self, images: Tensor) -> Maps:
        return self._look(images)


def seen_clips(
    folder: str | Path,
    source: SequenceSource,
    network: AOTNetwork,
    features: AudioFeatures,
    *,
    size: tuple[int, int],
    ear: str,
) -> SeenClips:
    """What a network sees of clips and an ear hears, kept in a folder that several trainings of inserts may share.

    Args:
        features: with ``ear``, its name.
        size: that the frames are brought to.
    """

    def pictures(frames: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
        return to_input([resize_frame(frame, size) for frame in frames], torch.device("cpu"))

    eye = _Eye(network).eval()
    return SeenClips(folder, source, eye, features, size=size, key={"ear": ear}, pictures=pictures)


def _check(
    network: AOTNetwork,
    rule: SequenceRule,
    *,
    part: str,
    pretrained: bool,
    features: Heard | None,
    sound: str,
) -> None:
    for kind, given, allowed in (("part to train", part, get_args(Part)), ("sound", sound, get_args(Sound))):
        if given not in allowed:
            raise unknown_name(kind, given, allowed)
    fitting = network_size(*rule.size, align_corners=network.config.align_corners, max_side_px=max(rule.size))
    if fitting != rule.size:
        raise CoPropError(
            f"{network.config.name} takes frames whose sides are 16k{' + 1' * network.config.align_corners}; got "
            f"{rule.size[0]}x{rule.size[1]}, the nearest is {fitting[0]}x{fitting[1]}."
        )
    insert = network.audio_insert
    if (insert is None) != (features is None):
        raise CoPropError(
            "an audio insert is trained with audio features, and these need an insert: give both or none."
        )
    if insert is None and part == "insert":
        raise CoPropError("there is no audio insert to train; add one, or train all.")
    if part == "insert" and not pretrained:
        raise CoPropError("an insert alone cannot be trained on a network that knows nothing; train all.")
    if isinstance(features, TextGuide) and rule.context_frames:
        raise CoPropError(
            f"words have no frames to each side; a text-guided insert has no context, got {rule.context_frames}."
        )
    if insert is not None and int(insert.context_frames) != rule.context_frames:
        raise CoPropError(
            f"the insert hears {int(insert.context_frames)} frames to each side, the sequences bring "
            f"{rule.context_frames}; make them equal."
        )
