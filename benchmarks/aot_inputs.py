"""What the propagator's benchmarks run on: stand-in weights, drifting noise, two objects."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.network import AOTNetwork
from coprop_plugin.structures import Clip, Sound, TimeBase

Size = tuple[int, int]


def stand_in_weights(model: str) -> dict[str, Tensor]:
    """Random weights that keep activations at about unit size; the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    state = AOTNetwork(MODELS[model]).state_dict()
    for name, value in state.items():
        if value.ndim > 1:
            state[name] = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
    return state


def drift(length: int, size: Size) -> np.ndarray:
    """``(L, H, W, 3) uint8``: noise that moves to the side."""
    still = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return np.stack([np.roll(still, 4 * t, axis=1) for t in range(length)])


def two_squares(size: Size) -> np.ndarray:
    """``(H, W) int64``: two objects."""
    labels, (height, width) = np.zeros(size, np.int64), size
    labels[height // 8 : height // 2, width // 8 : width // 2] = 1
    labels[height // 2 : height - height // 8, width // 2 : width - width // 8] = 2
    return labels


def probabilities(labels: np.ndarray) -> np.ndarray:
    """``(K+1, H, W) float32``: labels as certain probabilities."""
    return (labels == np.arange(int(labels.max()) + 1)[:, None, None]).astype(np.float32)


def clip_of(frames: np.ndarray) -> Clip:
    return Clip("clip", frames, Sound.silence(len(frames)), TimeBase.of("avsbench", len(frames)))
