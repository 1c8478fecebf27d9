"""Clips whose control points are known, from every kind of annotated set, with base models' predictions where wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..control_points.events import BRIDGED_S, points_of_intervals
from ..control_points.sound_only import clip_of_sound
from ..datasets.avsbench import AVSBench
from ..datasets.layouts import Video
from ..datasets.made import MadeClips
from ..datasets.moc import true_control_points
from ..datasets.scene import Scene
from ..datasets.simulators import simulate
from ..errors import CoPropError
from ..files import read_json
from ..files.schema import ListOf, MapOf, Number, Record, Text, Whole
from ..rescore.plan import Source
from ..rescore.worker import locate
from ..structures import Clip, ControlPoints, Prediction
from .cases import composed_cases

_COMPOSED = Record(needed={"file": Text(), "control_points": ListOf(Whole(0, 1), least=1)}, others=True)
_INTERVALS = Record(needed={"files": MapOf(MapOf(ListOf(ListOf(Number(0, 1e6), least=2, most=2))))}, others=True)


@dataclass(frozen=True)
class Known:
    """A clip and what is true of it.

    Attributes:
        clip: frames, sound, time base.
        points: the true control points.
        truth: masks of what sounds, a hard prediction, where there are any.
        pooled: the truth by which scores are pooled over clips: every clip of a set has its classes.
        bases: what base models said, by name; read or drawn when looked at.
    """

    clip: Clip
    points: ControlPoints
    truth: Prediction | None = None
    pooled: Prediction | None = None
    bases: Mapping[str, Prediction] = field(default_factory=dict)


def known_clips(clips: MadeClips, *, simulators: Sequence[str] = ()) -> Iterator[Known]:
    """Clips made on the fly with the control points that they were made from, and simulated base models (``lag:1``)."""
    for seed in clips.seeds:
        made = clips.make(seed)
        yield _of_scene(made.clip, made.scene, seed, simulators)


def composed_clips(folder: str | Path, *, simulators: Sequence[str] = ()) -> Iterator[Known]:
    """``NAME.json`` with ``file`` (a video beside it) and ``control_points``, a second each.

    With simulators the clips need the masks of their objects (:func:`~.cases.composed_cases`).

    Raises:
        CoPropError: the folder holds no such files, or one without those keys.
    """
    from ..media.reader import read_clip

    if simulators:
        for case in composed_cases(folder):
            yield _of_scene(case.clip, case.scene, case.seed, simulators)
        return
    descriptions = sorted(Path(folder).glob("*.json"))
    if not descriptions:
        raise CoPropError(f"'{folder}' holds no composed clips (NAME.json beside a video).")
    for path in descriptions:
        told = read_json(path, form=_COMPOSED, what="a description of a composed clip")
        clip = read_clip(path.parent / Path(told["file"]).name, sampling="avsbench")
        yield Known(clip, ControlPoints(np.array(told["control_points"], bool)))


def sound_clips(folder: str | Path, intervals: str | Path, *, bridged_s: float = BRIDGED_S) -> Iterator[Known]:
    """Sound files with labelled intervals, on windows of one second.

    Args:
        folder: where the sound files lie.
        intervals: JSON ``{"files": {name: {label: [[start_s, stop_s], …]}}}``.
        bridged_s: shorter pauses of one label are closed.

    Raises:
        CoPropError: the intervals have another form, or name a file that is not there.
    """
    from ..media.sound import read_sound

    files = read_json(intervals, form=_INTERVALS, what="a list of intervals")["files"]
    if not files:
        raise CoPropError(f"'{intervals}' holds no 'files': {{name: {{label: [[start_s, stop_s], …]}}}}.")
    for name, labels in files.items():
        clip = clip_of_sound(read_sound(Path(folder) / Path(name).name), clip_id=Path(name).stem)
        yield Known(clip, points_of_intervals(labels, clip.time_base, bridged_s=bridged_s))


def dataset_clips(
    dataset: AVSBench,
    *,
    split: str,
    semantic: AVSBench | None = None,
    sources: Sequence[Source] = (),
    reading: Mapping[str, Any] | None = None,
) -> Iterator[Known]:
    """The videos of a split; control points by the paper's rule from the masks (A.1).

    Args:
        dataset: any of AVSBench's layouts.
        split: ``train``, ``val`` or ``test``.
        semantic: for S4 and MS3, the AVSS data set whose class masks of the same videos tell which category sounds.
        sources: saved predictions of base models.
        reading: options of ``read_prediction``.

    Raises:
        CoPropError: no such split, missing or damaged files, or predictions that do not fit.
    """
    for video in dataset.videos(split):
        clip, truth = dataset.clip(video), dataset.truth(video)
        bases = {source.name: _saved(source, video, clip, dataset, reading or {}) for source in sources}
        yield Known(clip, true_control_points(dataset, video, semantic=semantic), truth, truth, bases)


def _saved(source: Source, video: Video, clip: Clip, dataset: AVSBench, reading: Mapping[str, Any]) -> Prediction:
    from ..adapters.saved_masks import read_prediction

    classes = {"classes": "avsbench"} if dataset.layout.name == "avss" else {}
    return read_prediction(locate(source, video), clip=clip, **{**classes, **reading})


def _of_scene(clip: Clip, scene: Scene, seed: int, simulators: Sequence[str]) -> Known:
    """Scenes differ in their classes, so that scores are pooled over "any object"."""
    truth = scene.truth()
    if not simulators:
        return Known(clip, scene.control_points(), truth)
    labels = np.stack([truth.label_map(t) for t in range(truth.num_frames)])
    everything = Prediction.from_labels((labels > 0).astype(np.int16), class_ids=(1,), source=truth.source)
    in_memory = Prediction.from_labels(labels, class_ids=truth.class_ids, names=truth.names, source=truth.source)
    bases = {name: _simulated(scene, name, seed) for name in simulators}
    return Known(clip, scene.control_points(), in_memory, everything, bases)


def _simulated(scene: Scene, text: str, seed: int) -> Prediction:
    name, _, strength = text.partition(":")
    try:
        return simulate(scene, name, strength=float(strength or 1), seed=seed)
    except ValueError as error:
        if isinstance(error, CoPropError):
            raise
        raise CoPropError(f"a simulator is NAME or NAME:STRENGTH, as lag:1; got '{text}'.") from error
