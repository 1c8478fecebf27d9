"""Training the learned control points on sounds whose sources are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..control_points.boundary_net import FRAMES_PER_S, LOWEST_DB, BoundaryNet, pooled
from ..errors import CoPropError
from ..weights.checkpoint import load_into

SCALES_FRAMES = {20: 1.0, 10: 0.5, 4: 0.3}  # windows in which a change is asked for, and the weight of each
SILENCE_WEIGHT = 0.4
AVERAGED = 0.99  # of the mean over the steps, whose weights are published: how much of it a step keeps
SPLICED_SHARE = 0.5
WEIGHT_DECAY = 0.05
_MOST_SOURCES = 4  # bits of one clip's states; a spliced clip's come above them


class HeardSource(Protocol):
    """Sounds whose sources are known."""

    @property
    def num_items(self) -> int: ...

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """``(T, NUM_MELS) float`` dB above the loudest moment, and ``(T,) uint8`` states: a bit for each source."""
        ...


@dataclass(frozen=True)
class HeardBatch:
    """Sounds side by side: ``mel (B, T, NUM_MELS)``, ``states (B, T)``; ``str()`` names the items."""

    mel: Tensor
    states: Tensor
    items: tuple[int, ...]
    offset: int

    def __str__(self) -> str:
        return f"sounds {', '.join(map(str, self.items))}"


class InTraining(nn.Module):
    """The network, and the mean of its weights over the steps: calmer than the last step's."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net, self.average = BoundaryNet(), BoundaryNet()
        with torch.no_grad():  # changes are rare, silence is rarer than sound
            self.net.last.bias.copy_(torch.tensor([-4.5, -1.5]))
        self.average.load_state_dict(self.net.state_dict())
        self.average.requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self) -> None:
        """Let the mean follow what the last step made of the network; called once a step."""
        steps = int(self.steps)
        kept = min(AVERAGED, steps / (steps + 9))
        for mean, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(new, 1 - kept)
        self.steps += 1


class BoundaryTraining:
    """A :class:`~.trainable.Trainable`: :class:`BoundaryNet` on a source.

    Args:
        source: where the sounds are from; all of one length.
        seed: of the first weights.
        start: weights to begin with, where there are any.
        record: what the source is, for the run's description.
    """

    def __init__(
        self,
        source: HeardSource,
        *,
        seed: int = 0,
        start: Mapping[str, Tensor] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        if source.num_items < 2:
            raise CoPropError(f"sounds to train on: at least 2, got {source.num_items}.")
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.nets = InTraining()
        self.module: nn.Module = self.nets
        if start is not None:
            state = {name: value.float() for name, value in start.items()}
            for net in (self.nets.net, self.nets.average):
                load_into(net, state, what="the weights to begin with")
        self.num_items, self._source, self._record = source.num_items, source, dict(record or {})

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.nets.net.parameters()), "weight_decay": WEIGHT_DECAY}]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> HeardBatch:
        pairs = [self._source.item(item) for item in items]
        mel = np.stack([mel for mel, _ in pairs]).astype(np.float32)
        states = np.stack([states for _, states in pairs])
        mel, states = spliced(recoloured(mel, rng), states, rng)
        mel = in_noise(mel, rng)
        offset = int(rng.integers(max(SCALES_FRAMES)))
        return HeardBatch(torch.from_numpy(mel), torch.from_numpy(states), tuple(items), offset)

    def losses(self, batch: HeardBatch, *, progress: float) -> Mapping[str, Tensor]:
        self.nets.follow()
        logits = self.nets.net(batch.mel)
        losses = change_losses(logits[..., 0], batch.states, batch.offset)
        silence = F.binary_cross_entropy_with_logits(logits[..., 1], (batch.states == 0).float())
        total = sum(SCALES_FRAMES[scale] * loss for scale, loss in losses.items()) + SILENCE_WEIGHT * silence
        named = {f"change_{scale / FRAMES_PER_S:g}s": loss for scale, loss in losses.items()}
        return {"loss": total, **named, "silence": silence}

    def weights(self) -> Mapping[str, Tensor]:
        halves = {name: value.half() for name, value in self.nets.average.state_dict().items()}
        return {**halves, "calibration": self.nets.average.calibration}

    def describe(self) -> Mapping[str, Any]:
        return {"trainable": "control-points", "items": self.num_items, **self._record}


def change_losses(logits: Tensor, states: Tensor, offset: int) -> dict[int, Tensor]:
    """Of each scale, the cross-entropy of whether the set of sources differs between the ends of its windows.

    Args:
        logits: ``(B, T)`` of a change at each frame.
        states: ``(B, T)``, a bit for each source.
        offset: where the first window begins, in frames; smaller ones take what is left of it.
    """
    losses = {}
    for scale in SCALES_FRAMES:
        edges = torch.arange(offset % scale, logits.shape[1], scale)
        changed = states[:, edges[1:]] != states[:, edges[:-1]]
        losses[scale] = F.binary_cross_entropy_with_logits(pooled(logits, edges), changed.float())
    return losses


def spliced(mel: np.ndarray, states: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Some clips go over into another one at a moment of their own; what sounds there are other sources."""
    joined_mel, joined_states = mel.copy(), states.copy()
    for i, other in enumerate(rng.permutation(len(mel))):
        if (
            rng.random() < SPLICED_SHARE
            and other != i
            and max(states[i].max(), states[other].max()) < 1 << _MOST_SOURCES
        ):
            cut = int(rng.integers(mel.shape[1] // 6, mel.shape[1] * 5 // 6))
            joined_mel[i, cut:] = mel[other, cut:]
            joined_states[i, cut:] = states[other, cut:] << _MOST_SOURCES
    return joined_mel, joined_states


def recoloured(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other sources, microphones and rooms: level, colour, pitch; ``(B, T, F)`` dB."""
    batch, _, bands = mel.shape
    mel = mel + rng.uniform(-4, 2, (batch, 1, 1)).astype(np.float32)
    walks = np.cumsum(rng.normal(0, 1, (batch, 1, bands)), axis=2)
    colour = (walks - walks.mean(axis=2, keepdims=True)) * rng.uniform(0, 1.5, (batch, 1, 1))
    mel = mel + colour.clip(-15, 15).astype(np.float32)
    place = np.arange(bands)
    for i in range(batch):
        if rng.random() < 0.6:  # bands are moved and stretched, as another pitch and another size do
            warped = (place - rng.uniform(-4, 4)) * rng.uniform(0.88, 1.14)
            low = np.clip(np.floor(warped), 0, bands - 2).astype(int)
            part = np.clip(warped - low, 0, 1).astype(np.float32)
            mel[i] = mel[i][:, low] * (1 - part) + mel[i][:, low + 1] * part
    return mel


def in_noise(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other recorders: a narrow band, a few bands that are missing, a bed of noise; ``(B, T, F)`` dB."""
    batch, length, bands = mel.shape
    mel = mel.copy()
    for i in range(batch):
        if rng.random() < 0.12:
            mel[i, :, int(rng.integers(bands * 5 // 8, bands)) :] -= 45
        if rng.random() < 0.5:
            first, count = int(rng.integers(bands)), int(rng.integers(1, 8))
            mel[i, :, first : first + count] = -LOWEST_DB
    noisy = rng.random((batch, 1, 1)) < 0.6
    form = np.cumsum(rng.normal(0, 1.5, (batch, 1, bands)), axis=2)
    form = form - form.max(axis=2, keepdims=True) + rng.uniform(-65, -22, (batch, 1, 1))
    noise = 10 ** (form / 10) * rng.gamma(8, 1 / 8, (batch, length, bands)) * noisy
    return np.maximum(10 * np.log10(10 ** (mel / 10) + noise), -LOWEST_DB).astype(np.float32)


def fitted_calibration(logits: Tensor, changed: Tensor) -> tuple[float, float]:
    """The scale and shift that make probabilities of ``(n,)`` logits of what happened or did not."""
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    search = torch.optim.LBFGS([scale, shift], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.binary_cross_entropy_with_logits(scale * logits + shift, changed)
        value.backward()
        return value

    search.step(loss)
    return float(scale), float(shift)


@torch.inference_mode()
def second_logits(net: BoundaryNet, source: HeardSource) -> tuple[Tensor, Tensor]:
    """``(n,)`` uncalibrated logits of a change between the middles of neighbouring seconds, and whether there is one."""
    logits, changed = [], []
    for index in range(source.num_items):
        mel, states = source.item(index)
        edges = torch.arange(FRAMES_PER_S // 2, len(states), FRAMES_PER_S)
        logits.append(pooled(net(torch.from_numpy(mel.astype(np.float32))[None])[..., 0], edges)[0])
        changed.append(torch.from_numpy(states[edges[1:]] != states[edges[:-1]]))
    return torch.cat(logits), torch.cat(changed).float()


def calibration_error(chances: np.ndarray, happened: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error: in ten equal bins of probability, how far its mean is from how often it happened."""
    place = np.minimum((np.asarray(chances) * bins).astype(int), bins - 1)
    gaps = [
        abs(chances[place == k].mean() - happened[place == k].mean()) * (place == k).mean() for k in np.unique(place)
    ]
    return float(sum(gaps))
