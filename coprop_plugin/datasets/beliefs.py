"""Which objects a simulated base model believes to sound: the errors of its states, apart from how it draws them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np

from .scene import Scene

Believe = Callable[[Scene, float, np.random.Generator], np.ndarray]  # -> (T, O) bool

FLICKER_SHARE = 0.15


def truth(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    return scene.sounding


def lag(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    return scene.sounding[np.maximum(np.arange(scene.num_frames) - int(strength), 0)]


def linger(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    return _prolonged(scene.sounding, int(strength))


def early(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    return _prolonged(scene.sounding[::-1], int(strength))[::-1]


def _prolonged(sounding: np.ndarray, frames: int) -> np.ndarray:
    believed = sounding.copy()
    for k in range(1, min(frames, len(sounding) - 1) + 1):
        believed[k:] |= sounding[:-k]
    return believed


def flicker(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    believed = scene.sounding.copy()
    toggled = rng.permutation(believed.size)[: round(FLICKER_SHARE * strength * believed.size)]
    believed.flat[toggled] ^= True
    return believed


def ignore_sound(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    anything = scene.sounding.any(axis=1, keepdims=True) if strength < 2 else np.ones((scene.num_frames, 1), bool)
    return np.broadcast_to(anything, scene.sounding.shape).copy()


def leak(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    silent = np.flatnonzero(~scene.sounding.all(axis=0))
    believed = scene.sounding.copy()
    believed[:, rng.permutation(silent)[: int(strength)]] = True
    return believed


def drop_touching(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    """One of two sounding objects is missing for one frame, where they touch if any do."""
    sounding = scene.sounding
    together = [t for t in range(scene.num_frames) if sounding[t].sum() > 1]
    near = [t for t in together if len(_touching(scene, t)) > 0]
    frames = rng.permutation(near or together or np.flatnonzero(sounding.any(axis=1)))[: int(strength)]
    believed = sounding.copy()
    for t in frames.tolist():
        of = np.unique(_touching(scene, t)) if t in near else np.flatnonzero(sounding[t])
        believed[t, rng.choice(of)] = False
    return believed


def _touching(scene: Scene, t: int) -> list[tuple[int, int]]:
    """Pairs of columns of sounding objects whose pixels lie within two pixels of each other."""
    instances = scene.instance_map(t)
    grown = {
        c: cv2.dilate((instances == scene.object_ids[c]).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        for c in np.flatnonzero(scene.sounding[t]).tolist()
    }
    return [(a, b) for a, b in combinations(grown, 2) if (grown[a] & grown[b]).any()]


def wrong_object(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    """In whole segments every sounding object is taken for another one."""
    believed = scene.sounding.copy()
    objects = believed.shape[1]
    segments = [s for s in scene.control_points().segments() if scene.sounding[s.start].any()]
    for i in rng.permutation(len(segments))[: int(strength)].tolist():
        cut = slice(segments[i].start, segments[i].stop)
        believed[cut] = np.roll(believed[cut], int(rng.integers(1, objects)) if objects > 1 else 0, axis=1)
    return believed


def together(scene: Scene, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Errors common to all objects: frames that show nothing, and as many that show everything visible."""
    believed = scene.sounding.copy()
    frames = rng.permutation(scene.num_frames)[: 2 * int(strength)]
    believed[frames[::2]], believed[frames[1::2]] = False, True
    return believed
