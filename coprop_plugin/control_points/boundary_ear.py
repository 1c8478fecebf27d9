"""What YAMNet adds to the learned control points: whether what it hears before and after a moment is another thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..structures import Sound
from .boundary_taps import taps

if TYPE_CHECKING:
    from ..audio.yamnet import YamNet

HOP_S = 0.48  # between YAMNet's patches
SPANS_S = (1.0, 2.0, 3.0)  # compared before and after a frame
NUM_CONTRASTS = 3 * len(SPANS_S)
HIDDEN, STEP_FRAMES = 24, 5


class BoundaryEar(nn.Module):
    """``(B, T)`` logits of a change and ``(B, T, NUM_CONTRASTS)`` contrasts to better logits; untrained it changes nothing."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(NUM_CONTRASTS + 1, HIDDEN)
        self.last = nn.Linear(3 * HIDDEN, 1)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("mean", torch.zeros(NUM_CONTRASTS))
        self.register_buffer("spread", torch.ones(NUM_CONTRASTS))

    def forward(self, logits: Tensor, contrasts: Tensor) -> Tensor:
        told = torch.cat([logits[..., None] / 4, (contrasts - self.mean) / self.spread], dim=-1)
        return self.scale * logits + self.last(taps(torch.relu(self.first(told)), STEP_FRAMES))[..., 0]


def heard_contrasts(yamnet: YamNet, sound: Sound, *, first: int, last: int, frames_per_s: int) -> np.ndarray:
    """``(last - first, NUM_CONTRASTS) float32``: :func:`embedding_contrasts` of the frames ``[first, last)`` of a sound."""
    patches = range(int(first / frames_per_s / HOP_S), int(np.ceil(last / frames_per_s / HOP_S)))
    tags, embeddings = yamnet.listen(sound, start=patches.start, stop=patches.stop, hop_s=HOP_S)
    centres_s = (np.array(patches) + 0.5) * HOP_S
    return embedding_contrasts(tags, embeddings, centres_s, np.arange(first, last) / frames_per_s)


def embedding_contrasts(
    logits: np.ndarray, embeddings: np.ndarray, centres_s: np.ndarray, frames_s: np.ndarray
) -> np.ndarray:
    """``(T, NUM_CONTRASTS) float32``: how unlike YAMNet's answers just before and just after each frame are.

    Of each span: one minus the cosine of the mean embeddings, the distance of the mean roots of probabilities, and the
    logarithm of the embeddings' mean squared distance.

    Args:
        logits, embeddings: ``(W, 521)`` and ``(W, 1024)``.
        centres_s: ``(W,)`` the middles of their patches.
        frames_s: ``(T,)`` when each frame begins.
    """
    roots = np.sqrt(1 / (1 + np.exp(-logits.astype(np.float64).clip(-60, 60))))
    embeddings = np.log1p(embeddings.astype(np.float64))
    parts = []
    for span_s in SPANS_S:
        late = frames_s[:, None] - centres_s
        before, after = (late > 0) & (late <= span_s), (late <= 0) & (late > -span_s)
        before = np.where(before.any(axis=1, keepdims=True), before, after)
        after = np.where(after.any(axis=1, keepdims=True), after, before)
        weights = [side / np.maximum(side.sum(axis=1, keepdims=True), 1) for side in (before, after)]
        first, second = (weight @ embeddings for weight in weights)
        lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1) + 1e-6)
        parts.append(1 - (first * second).sum(axis=1) / lengths)
        parts.append(np.sqrt(((weights[0] @ roots - weights[1] @ roots) ** 2).sum(axis=1)))
        parts.append(np.log(((first - second) ** 2).mean(axis=1) + 1e-3))
    return np.stack(parts, axis=1).astype(np.float32)
