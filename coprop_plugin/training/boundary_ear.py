"""Fitting what YAMNet adds to the learned control points, on a network that is trained already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..audio.level import level_of
from ..audio.yamnet import YamNet
from ..control_points.boundary_ear import heard_contrasts
from ..control_points.boundary_net import FRAMES_PER_S, BoundaryNet, heard_frames, pooled
from .boundary import SCALES_FRAMES, change_losses
from .boundary_data import LENGTH, HeardSets, states_of

STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 400, 48, 3e-3, 0.05


@dataclass(frozen=True)
class HeardTwice:
    """Sounds as the network and YAMNet hear them: ``logits (N, T)``, ``contrasts (N, T, C)``, ``states (N, T)``."""

    logits: Tensor
    contrasts: Tensor
    states: Tensor

    def second_logits(self, net: BoundaryNet) -> tuple[Tensor, Tensor]:
        """As :func:`~.boundary.second_logits`, with YAMNet."""
        edges = torch.arange(FRAMES_PER_S // 2, LENGTH, FRAMES_PER_S)
        with torch.no_grad():
            logits = pooled(net.ear(self.logits, self.contrasts), edges)
        changed = self.states[:, edges[1:]] != self.states[:, edges[:-1]]
        return logits.flatten(), changed.flatten().float()


@torch.no_grad()
def heard_twice(net: BoundaryNet, source: HeardSets, yamnet: YamNet) -> HeardTwice:
    """What both hear in the sounds of a source; a third of a second of one core for each."""
    logits, contrasts, states = [], [], []
    for index in range(source.num_items):
        sound, sources = source.sound(index)
        heard = heard_frames(sound, start=0, stop=LENGTH, loudest_dbfs=level_of(sound).loudest_dbfs)
        logits.append(net(torch.from_numpy(heard)[None])[0, :, 0])
        found = heard_contrasts(yamnet, sound, first=0, last=LENGTH, frames_per_s=FRAMES_PER_S)
        contrasts.append(torch.from_numpy(found))
        states.append(torch.from_numpy(states_of(sources, LENGTH)))
    return HeardTwice(torch.stack(logits), torch.stack(contrasts), torch.stack(states))


def fit_ear(net: BoundaryNet, heard: HeardTwice, *, seed: int = 0) -> None:
    """Train ``net.ear`` from scratch and nothing else; the same every time."""
    ear, rng = net.ear, np.random.default_rng(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        fresh = type(ear)()
    fresh.mean.copy_(heard.contrasts.mean((0, 1)))
    fresh.spread.copy_(heard.contrasts.std((0, 1)).clamp(min=1e-6))
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(STEPS):
        chosen = torch.from_numpy(rng.permutation(len(heard.states))[:BATCH])
        logits = fresh(heard.logits[chosen], heard.contrasts[chosen])
        losses = change_losses(logits, heard.states[chosen], int(rng.integers(max(SCALES_FRAMES))))
        optimizer.zero_grad(set_to_none=True)
        torch.stack([SCALES_FRAMES[scale] * loss for scale, loss in losses.items()]).sum().backward()
        optimizer.step()
    ear.load_state_dict(fresh.state_dict())
