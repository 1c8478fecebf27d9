"""Clips whose truth is known object by object: made on the fly, and composed ones on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.made import MadeClips
from ..datasets.scene import Labelling, Scene
from ..errors import CoPropError
from ..structures import Clip, ControlPoints, Prediction

if TYPE_CHECKING:
    from ..datasets.synthetic import Timbres


FITTED_SEEDS = range(100)  # the policy's prices and the default generator were fitted on clips of these seeds
SEMANTIC_KINDS = frozenset({"avss"})  # real S4 and MS3 masks hold one foreground; so do MOC's as most models give them


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
        held_out: nothing was fitted or tuned on this clip.
    """

    name: str
    clip: Clip
    scene: Scene
    truth: Prediction
    points: ControlPoints
    seed: int
    held_out: bool = True


def made_cases(
    clips: MadeClips, *, size: int = 224, timbres: Timbres = "drawn", labelling: Labelling | None = None
) -> Iterator[Case]:
    """Clips made one after the other, by formula or of a library's things.

    Args:
        clips: those by formula of :data:`FITTED_SEEDS`, and all of a library's training part, are not held out.
        size: side of the frames in pixels.
        timbres: of clips by formula: ``drawn`` for every source, or one a ``class``.
        labelling: by default that of the real sets: semantic for ``avss``, binary for the others.
    """
    labelling = labelling or ("semantic" if clips.kind in SEMANTIC_KINDS else "binary")
    by_formula = clips.library is None
    for seed in clips.seeds:
        made = clips.make(seed, size=(size, size), **({"timbres": timbres} if by_formula else {}))
        scene = replace(made.scene, labelling=labelling)
        fitted = seed in FITTED_SEEDS if by_formula else clips.split == "train"
        yield _held(made.clip.clip_id, made.clip, scene, seed, held_out=not fitted)


def composed_cases(folder: str | Path, *, labelling: Labelling | None = None) -> Iterator[Case]:
    """Composed clips: ``NAME.mp4`` beside ``NAME.json``, instances below ``avss/*/NAME/instances/``.

    ``labelling``: by default semantic where all objects have classes.

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
        scene = read_scene(found[0], path, labelling=labelling)
        yield _held(path.stem, read_clip(path.with_suffix(".mp4")), scene, seed)


def _held(name: str, clip: Clip, scene: Scene, seed: int, *, held_out: bool = True) -> Case:
    """A case whose masks are in memory: a study reads them hundreds of times."""
    scene = replace(scene, instances=np.asarray(scene.instances))
    truth = scene.truth()
    labels = np.stack([truth.label_map(t) for t in range(truth.num_frames)])
    held = Prediction.from_labels(labels, class_ids=truth.class_ids, names=truth.names, source=truth.source)
    return Case(name, clip, scene, held, scene.control_points(), seed, held_out)
