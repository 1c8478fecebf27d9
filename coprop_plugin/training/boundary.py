"""Training the learned control points on sounds whose sources are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..control_points.boundary_net import FRAMES_PER_S, BoundaryNet, pooled
from ..errors import CoPropError
from ..weights.checkpoint import load_into
from .boundary_varied import Tracks, mixture, recorded, spliced

SCALES_FRAMES = {20: 1.0, 10: 0.5, 4: 0.3}  # windows in which a change is asked for, and the weight of each
SILENCE_WEIGHT = 0.4
BESIDE_WEIGHT = 0.2  # of what is asked as well: how many sound, whether one joins, whether one leaves
MOST_COUNTED = 3
AVERAGED = 0.99  # of the mean over the steps, whose weights are published: how much of it a step keeps
WEIGHT_DECAY = 0.05


class HeardSource(Protocol):
    """Sounds whose sources are known."""

    @property
    def num_items(self) -> int: ...

    def tracks(self, index: int) -> Tracks:
        """A sound in tracks; all are of one length."""
        ...


class HeardMixture(Protocol):
    """Sounds as they are heard, to judge by."""

    @property
    def num_items(self) -> int: ...

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """``(T, NUM_BANDS) float`` dB above the loudest moment, and ``(T,) uint8`` states: a bit for each source."""
        ...


@dataclass(frozen=True)
class HeardBatch:
    """Sounds side by side: ``heard (B, T, NUM_BANDS)``, ``states (B, T)``; ``str()`` names the items."""

    heard: Tensor
    states: Tensor
    items: tuple[int, ...]
    offset: int

    def __str__(self) -> str:
        return f"sounds {', '.join(map(str, self.items))}"


class InTraining(nn.Module):
    """The network, what it is asked beside its answers, and the mean of its weights over the steps: calmer than the last."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net, self.average = BoundaryNet(), BoundaryNet()
        with torch.no_grad():  # changes are rare, silence is rarer than sound
            self.net.last.bias.copy_(torch.tensor([-4.5, -1.5]))
        self.beside = nn.Linear(self.net.last.in_features, MOST_COUNTED + 1 + 2)
        with torch.no_grad():
            self.beside.bias[-2:] = -4.5
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
        trained = [*self.nets.net.parameters(), *self.nets.beside.parameters()]
        return [{"params": trained, "weight_decay": WEIGHT_DECAY}]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> HeardBatch:
        def another() -> Tracks:
            return self._source.tracks(int(rng.integers(self.num_items)))

        pairs = [mixture(self._source.tracks(item), another, rng) for item in items]
        heard, states = spliced(np.stack([heard for heard, _ in pairs]), np.stack([told for _, told in pairs]), rng)
        offset = int(rng.integers(max(SCALES_FRAMES)))
        return HeardBatch(torch.from_numpy(recorded(heard, rng)), torch.from_numpy(states), tuple(items), offset)

    def losses(self, batch: HeardBatch, *, progress: float) -> Mapping[str, Tensor]:
        self.nets.follow()
        features = self.nets.net.features(batch.heard)
        logits, beside = self.nets.net.last(features), self.nets.beside(features)
        losses = change_losses(logits[..., 0], batch.states, batch.offset)
        silence = F.binary_cross_entropy_with_logits(logits[..., 1], (batch.states == 0).float())
        asked = beside_loss(beside, batch.states, batch.offset)
        total = sum(SCALES_FRAMES[scale] * loss for scale, loss in losses.items())
        total = total + SILENCE_WEIGHT * silence + BESIDE_WEIGHT * asked
        named = {f"change_{scale / FRAMES_PER_S:g}s": loss for scale, loss in losses.items()}
        return {"loss": total, **named, "silence": silence, "beside": asked}

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


def beside_loss(logits: Tensor, states: Tensor, offset: int) -> Tensor:
    """How many sources sound in each frame, and whether one joins and whether one leaves between the ends of windows.

    Args:
        logits: ``(B, T, MOST_COUNTED + 1 + 2)``.
        states, offset: as in :func:`change_losses`, for its longest windows.
    """
    count = torch.stack([(states >> bit) & 1 for bit in range(8)]).sum(dim=0).clamp(max=MOST_COUNTED)
    loss = F.cross_entropy(logits[..., : MOST_COUNTED + 1].flatten(0, 1), count.flatten())
    edges = torch.arange(offset, logits.shape[1], max(SCALES_FRAMES))
    before, after = states[:, edges[:-1]], states[:, edges[1:]]
    for told, changed in zip(logits[..., -2:].unbind(-1), (after & ~before, before & ~after), strict=True):
        loss = loss + F.binary_cross_entropy_with_logits(pooled(told, edges), (changed != 0).float())
    return loss


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
    return float(scale.detach()), float(shift.detach())


@torch.no_grad()
def second_logits(net: BoundaryNet, source: HeardMixture) -> tuple[Tensor, Tensor]:
    """``(n,)`` uncalibrated logits of a change between the middles of neighbouring seconds, and whether there is one."""
    logits, changed = [], []
    for index in range(source.num_items):
        heard, states = source.item(index)
        edges = torch.arange(FRAMES_PER_S // 2, len(states), FRAMES_PER_S)
        logits.append(pooled(net(torch.from_numpy(heard.astype(np.float32))[None])[..., 0], edges)[0])
        changed.append(torch.from_numpy(states[edges[1:]] != states[edges[:-1]]))
    return torch.cat(logits), torch.cat(changed).float()


def best_threshold(chances: np.ndarray, happened: np.ndarray) -> tuple[float, float]:
    """The threshold of a probability, in steps of 0.01, at which F1 of what happened is best, and that F1."""
    thresholds = np.arange(1, 100) / 100
    said = np.asarray(chances)[:, None] > thresholds
    f1 = (
        2
        * (said & (np.asarray(happened)[:, None] > 0)).sum(axis=0)
        / np.maximum(said.sum(axis=0) + np.sum(happened), 1)
    )
    best = np.flatnonzero(f1 >= f1.max() - 1e-9)
    chosen = best[len(best) // 2]
    return float(thresholds[chosen]), float(f1[chosen])


def calibration_error(chances: np.ndarray, happened: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error: in ten equal bins of probability, how far its mean is from how often it happened."""
    place = np.minimum((np.asarray(chances) * bins).astype(int), bins - 1)
    gaps = [
        abs(chances[place == k].mean() - happened[place == k].mean()) * (place == k).mean() for k in np.unique(place)
    ]
    return float(sum(gaps))
