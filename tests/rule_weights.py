"""Stand-in weights that depend on nothing but an entry's name and shape, made in a moment and the same everywhere."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coprop_plugin.weights.unfilled import unfilled

_NORMAL = np.random.RandomState(0).standard_normal(65521).astype(np.float32)  # a prime: rows never repeat


def rule_entry(name: str, like: Tensor, seed: int = 0) -> Tensor:
    """One entry of a state dict: scales near 1, shifts near 0, matrices with rows of about unit length."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    start = zlib.crc32(f"{seed}:{name}".encode()) % len(_NORMAL)
    x = np.resize(np.roll(_NORMAL, -start), tuple(like.shape))
    if name.endswith("running_var"):
        x = 1 + 0.2 * np.abs(x)
    elif like.ndim <= 1:
        x = 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
    else:
        x = x / np.float32(np.sqrt(np.prod(like.shape[1:])))
    return torch.from_numpy(np.asarray(x, np.float32))


def rule_state(make: Callable[[], nn.Module], seed: int = 0) -> dict[str, Tensor]:
    with unfilled():
        entries = make().state_dict()
    return {name: rule_entry(name, value, seed) for name, value in entries.items()}


def rule_network(make: Callable[[], nn.Module], seed: int = 0) -> Any:
    """The network with the rule's weights, ready for inference."""
    with unfilled():
        network = make()
    network.load_state_dict(rule_state(make, seed), assign=True)
    return network.eval().requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """``uint8`` pictures, or anything that wants numbers from 0 to 255."""
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def sounds(*shape: int, seed: int = 1) -> Tensor:
    """VGGish-like features: normal, no value negative."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).clip(0).astype(np.float32))
