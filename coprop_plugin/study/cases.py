"""Clips whose truth is known object by object: made on the fly, and composed ones on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets.made import MadeClips
from ..datasets.scene import Scene
from ..errors import CoPropError
from ..structures import Clip, ControlPoints, Prediction


@dataclass(frozen=True)
class Case:
    """A clip with its truth.

    Attributes:
        name: for tables.
        clip: frames, sound, time base.
        scene: every visible object's pixels and when it sounds.
        truth: hard prediction of what sounds.
        points: the true control points.
        seed: of the simulators.
    """

    name: str
    clip: Clip
    scene: Scene
    truth: Prediction
    points: ControlPoints
    seed: int


def made_cases(clips: MadeClips, *, size: int = 224) -> Iterator[Case]:
    """Clips made one after the other, by formula or of a library's things."""
    for seed in clips.seeds:
        made = clips.make(seed, size=(size, size))
        yield _held(made.clip.clip_id, made.clip, made.scene, seed)


def composed_cases(folder: str | Path) -> Iterator[Case]:
    """Composed clips: ``NAME.mp4`` beside ``NAME.json``, instances below ``avss/*/NAME/instances/``.

    Raises:
        CoPropError: the folder holds no such clips, or one without its instances.
    """
    from ..datasets.scene_files import read_scene
    from ..media.reader import read_clip

    folder = Path(folder)
    descriptions = sorted(folder.glob("*.json"))
    if not descriptions:
        raise CoPropError(f"'{folder}' holds no composed clips (NAME.mp4 with NAME.json).")
    for seed, path in enumerate(descriptions):
        found = list(folder.glob(f"avss/*/{path.stem}/instances"))
        if not found:
            raise CoPropError(f"clip '{path.stem}' has no folder avss/*/{path.stem}/instances below '{folder}'.")
        yield _held(path.stem, read_clip(path.with_suffix(".mp4")), read_scene(found[0], path), seed)


def _held(name: str, clip: Clip, scene: Scene, seed: int) -> Case:
    """A case whose masks are in memory: a study reads them hundreds of times."""
    scene = replace(scene, instances=np.asarray(scene.instances))
    truth = scene.truth()
    labels = np.stack([truth.label_map(t) for t in range(truth.num_frames)])
    held = Prediction.from_labels(labels, class_ids=truth.class_ids, names=truth.names, source=truth.source)
    return Case(name, clip, scene, held, scene.control_points(), seed)
