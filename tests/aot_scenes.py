"""Small clips, masks and stand-in networks for the tests of the AOT family."""

from __future__ import annotations

import functools

import numpy as np
import torch
from rule_weights import rule_state

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.network import AOTNetwork
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip, Sound, TimeBase

SIZE = (65, 81)
EQUAL = 1e-5  # probabilities of two ways to compute the same thing
FED = 5e-4  # the same where predictions are fed back: rounding may turn one label at a tie


@functools.lru_cache(maxsize=2)
def weights(model: str) -> dict[str, torch.Tensor]:
    """Stand-in weights of a published model."""
    return rule_state(lambda: AOTNetwork(MODELS[model]))


def network(model: str = "aott") -> AOTNetwork:
    return AOTNetwork.from_state(MODELS[model], weights(model)).eval().requires_grad_(False)


def propagator(model: str = "aott", **options: object) -> AOT:
    return AOT(model, checkpoint=options.pop("checkpoint", weights(model)), device="cpu", **options)


def frames(num_frames: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> np.ndarray:
    """``(T, H, W, 3) uint8``: coarse noise that drifts."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), np.uint8)
    still = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
    return np.stack([np.roll(still, 3 * t, axis=1) for t in range(num_frames)])


def clip(num_frames: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> Clip:
    return Clip(
        "clip", frames(num_frames, size, seed=seed), Sound.silence(num_frames), TimeBase.of("avsbench", num_frames)
    )


def labels(num_objects: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> np.ndarray:
    """``(H, W)`` blocks of objects 0..K, each of them present."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, num_objects + 1, (size[0] // 8 + 1, size[1] // 8 + 1))
    coarse.flat[rng.permutation(coarse.size)[: num_objects + 1]] = np.arange(num_objects + 1)
    coarse[0, : num_objects + 1] = np.arange(num_objects + 1)[: coarse.shape[1]]
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]


def mask(num_objects: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> np.ndarray:
    """``(K+1, H, W) float32``: :func:`labels` as probabilities."""
    one_hot = labels(num_objects, size, seed=seed) == np.arange(num_objects + 1)[:, None, None]
    return (0.1 / (num_objects + 1) + 0.9 * one_hot).astype(np.float32)


def task(start: int, stop: int, anchor: int, *, num_objects: int = 2, seed: int = 0) -> PropagationTask:
    return PropagationTask(start, stop, anchor, mask(num_objects, seed=seed))
