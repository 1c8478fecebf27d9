"""Faults that no policy models: each does what it says to masks and states, from its seed alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from coprop_plugin.datasets.scene import Scene
from coprop_plugin.datasets.simulators import UNMODELLED, believed_states, simulate

SOUNDING = np.array([[1, 1, 0]] * 5 + [[0, 0, 0]] + [[0, 1, 0]] * 4, bool)


def scene(labelling: str = "binary") -> Scene:
    """Two objects side by side, touching, and a third that never sounds."""
    instances = np.zeros((10, 64, 96), np.uint8)
    instances[:, 10:40, 8:36], instances[:, 10:40, 36:60], instances[:, 44:62, 70:92] = 1, 2, 3
    return Scene(instances, {1: 4, 2: 9, 3: 30}, SOUNDING, labelling)  # type: ignore[arg-type]


def regions(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


def masks(name: str, strength: float = 2, labelling: str = "binary") -> tuple[np.ndarray, np.ndarray]:
    """``(T, H, W)`` labels with the fault, and the same without it."""
    drawn = [simulate(scene(labelling), n, strength=s, seed=3) for n, s in ((name, strength), ("lag", 50))]
    truth = scene(labelling).truth()
    return np.stack([drawn[0].label_map(t) for t in range(10)]), np.stack([truth.label_map(t) for t in range(10)])


def test_one_of_two_touching_objects_is_missing_for_one_frame() -> None:
    lost = SOUNDING & ~believed_states(scene(), "drop_touching", strength=2, seed=1)
    assert lost.sum() == 2 and (lost.sum(axis=1) <= 1).all() and not lost[5:].any()


def test_the_wrong_object_is_shown_for_a_whole_segment() -> None:
    believed = believed_states(scene(), "wrong_object", strength=1, seed=0)
    changed = (believed != SOUNDING).any(axis=1)
    assert changed.tolist() in ([True] * 5 + [False] * 5, [False] * 6 + [True] * 4)
    assert (believed.sum(axis=1) == SOUNDING.sum(axis=1)).all()


def test_errors_of_all_objects_come_together() -> None:
    believed = believed_states(scene(), "together", strength=2, seed=0)
    odd = (believed != SOUNDING).any(axis=1)
    assert odd.any() and all(believed[t].all() or not believed[t].any() for t in np.flatnonzero(odd))


def test_masks_are_split_merged_cut_and_spotted() -> None:
    split, truth = masks("split")
    assert max(regions(frame > 0) for frame in split) > max(regions(frame > 0) for frame in truth)
    partial, _ = masks("partial")
    assert min((p > 0).sum() / (t > 0).sum() for p, t in zip(partial, truth, strict=True) if t.any()) < 0.9
    blobs, _ = masks("blobs", 3)
    assert any((frame > 0).any() for frame in blobs[5:6]) or (blobs > 0).sum() > (truth > 0).sum()
    fade, _ = masks("fade")
    shares = [(fade[t] > 0).sum() / (truth[t] > 0).sum() for t in range(5)]
    assert shares[2] > 1.5 * max(shares[4], 0.01)


def test_classes_are_confused_only_where_there_are_classes() -> None:
    confused, truth = masks("confusion", 3, "semantic")
    assert any(set(np.unique(c)) != set(np.unique(t)) for c, t in zip(confused, truth, strict=True))
    binary, truth = masks("confusion", 3)
    assert (
        np.mean(
            [((b > 0) & (t > 0)).sum() / max(1, ((b > 0) | (t > 0)).sum()) for b, t in zip(binary, truth, strict=True)]
        )
        > 0.7
    )


@pytest.mark.parametrize("name", UNMODELLED)
def test_the_seed_says_all(name: str) -> None:
    one, again, other = (simulate(scene(), name, strength=1, seed=s) for s in (5, 5, 6))
    assert all((one.frame(t) == again.frame(t)).all() for t in (9, 0, 4))
    assert any((one.frame(t) != other.frame(t)).any() for t in range(10))
