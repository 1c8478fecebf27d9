"""Small clips with two objects that move as we say, for tests of policies and of the whole method."""

from __future__ import annotations

import cv2
import numpy as np

import coprop_plugin as cp

SIZE = 160
SIDES = (44, 52)


def textured(seed: int, size: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


BACKGROUND = textured(0, SIZE) // 2
OBJECTS = [
    (textured(1, SIDES[0]) // 2 + [120, 0, 0]).astype(np.uint8),
    (textured(2, SIDES[1]) // 2 + [0, 0, 120]).astype(np.uint8),
]


def places(t: int) -> list[tuple[int, int]]:
    """Top left corners: one object goes to the right, the other up."""
    return [(12, 8 + 4 * t), (96 - 4 * t, 90)]


def masks(num_frames: int) -> np.ndarray:
    """``(O, T, H, W) bool``: the two objects' pixels."""
    out = np.zeros((2, num_frames, SIZE, SIZE), bool)
    for t in range(num_frames):
        for o, (y, x) in enumerate(places(t)):
            out[o, t, y : y + SIDES[o], x : x + SIDES[o]] = True
    return out


def frames(num_frames: int) -> np.ndarray:
    out = np.repeat(BACKGROUND[None], num_frames, axis=0)
    for t in range(num_frames):
        for o, (y, x) in enumerate(places(t)):
            out[t, y : y + SIDES[o], x : x + SIDES[o]] = OBJECTS[o]
    return out


def clip(num_frames: int = 10, sound: cp.Sound | None = None) -> cp.Clip:
    base = cp.TimeBase.of("avsbench", num_frames)
    return cp.Clip("two-objects", frames(num_frames), sound or cp.Sound.silence(num_frames), base)


def labels(states: np.ndarray, *, binary: bool = False) -> np.ndarray:
    """``(T, H, W) int16``: class o + 1 (or 1 for both) where object o is on, ``states (T, 2) bool``."""
    out = np.zeros((len(states), SIZE, SIZE), np.int16)
    for o, mask in enumerate(masks(len(states))):
        out[mask & states[:, o, None, None]] = 1 if binary else o + 1
    return out


def prediction(states: np.ndarray, *, binary: bool = False) -> cp.Prediction:
    """Soft scores of what a model shows: 0.9 on the object, 0.05 elsewhere."""
    shown = labels(states, binary=binary)
    ids = (1,) if binary else (1, 2)
    objects = np.stack([np.where(shown == c, 0.9, 0.05 / len(ids)) for c in ids], axis=1)
    scores = np.concatenate([1 - objects.sum(axis=1, keepdims=True), objects], axis=1)
    return cp.Prediction(scores.astype(np.float32), "probability", ids)


def points(states: np.ndarray) -> cp.ControlPoints:
    flags = np.ones(len(states), bool)
    flags[1:] = (states[1:] != states[:-1]).any(axis=1)
    return cp.ControlPoints(flags, silent=tuple((~states[flags].any(axis=1)).tolist()))


# What sounds: object 0 first, then both, then object 1, silence, object 0, object 1.
STATES = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [0, 0], [0, 0], [1, 0], [0, 1], [0, 1]], bool)


def late(states: np.ndarray, frames: int) -> np.ndarray:
    return states[np.clip(np.arange(len(states)) - frames, 0, None)]
