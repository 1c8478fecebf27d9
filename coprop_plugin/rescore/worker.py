"""One video of one method: read, refine, score before and after, write. Nothing here knows of other videos."""

from __future__ import annotations

import errno
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..adapters.saved_masks import read_prediction
from ..coprop import Result
from ..datasets.avsbench import AVSBench
from ..datasets.layouts import Video
from ..datasets.moc import true_control_points
from ..errors import CoPropError
from ..files import leads_out
from ..metrics.protocols import Scorer
from ..store import digest, write_masks, write_scores
from ..store.find import ARRAYS, SINGLE, find_prediction
from ..structures import Clip, ControlPoints, Prediction
from ..structures.frozen import locked
from . import barriers
from .folder import RunFolder, record_bytes
from .plan import RunPlan, Source, Task

Status = Literal["done", "kept", "failed", "failed before"]
HELD_BYTES = 64 << 20  # predictions below are read once and kept while their video is worked on
# What ends the run instead of failing a video: every other video would meet it too.
_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: the video and its method.
        status: ``done`` now, ``kept`` from an earlier run, ``failed`` now, or ``failed before`` and not tried again.
        error: why it failed.
        trace: the traceback of the failure, for the log.
        wall_s: how long it took.
    """

    task: Task
    status: Status
    error: str = ""
    trace: str = ""
    wall_s: float = 0.0


class Worker:
    """Works off tasks one by one; its memory does not grow with them.

    Args:
        plan: what the run does.
        folder: where it writes.
        retry_failed: try again what failed in an earlier run.
    """

    def __init__(self, plan: RunPlan, folder: RunFolder, *, retry_failed: bool = False) -> None:
        one_thread()
        self.plan, self.folder, self.retry_failed = plan, folder, retry_failed
        self.dataset, self.semantic = plan.open_dataset(), plan.open_semantic()
        self.method = plan.build_method()

    def __call__(self, task: Task) -> Outcome:
        """Do a task, or say why it failed.

        Raises:
            OSError: the disk is full, or what else no video can get around.
        """
        start = time.monotonic()
        error = trace = ""
        try:
            status = self._work(task)
        except Exception as failure:
            if isinstance(failure, OSError) and failure.errno in _FATAL:
                raise
            status, error, trace = "failed", self._words(failure, task), traceback.format_exc()
            self.folder.note_failure(task, error)
        return Outcome(task, status, error, trace, time.monotonic() - start)

    def _work(self, task: Task) -> Status:
        record = self.folder.read_record(task)
        if not self.retry_failed and record is None and self.folder.read_failure(task) is not None:
            self.folder.withdraw(task)  # what a second try left that was killed
            return "failed before"
        place = locate(task.source, task.video)
        inputs = {"prediction": digest(place), **data_digests(self.dataset, task.video)}
        if self._is_done(task, inputs, record):
            return "kept"
        clip, base, truth = self.read(task, place)
        result = self.refine(clip, base)
        before, after = self.score(task, result, truth)
        self.write(task, result, {"inputs": inputs, "before": before, "after": after})
        return "done"

    def read(self, task: Task, place: Path) -> tuple[Clip, Prediction, Prediction]:
        """The clip, the saved prediction and the truth of a video."""
        clip = self.dataset.clip(task.video)
        base = read_prediction(place, clip=clip, **self.plan.reading)
        return clip, held(base), held(self.dataset.truth(task.video))

    def refine(self, clip: Clip, base: Prediction) -> Result:
        """The method's result; hard masks are refined into hard masks, so that before and after compare."""
        result = self.method(clip, base)
        refined = result.prediction
        if base.kind == "hard":
            refined = refined.hardened()
        return replace(result, prediction=held(refined))

    def score(self, task: Task, result: Result, truth: Prediction) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the scorer keeps of the video, before and after."""
        true_points = None
        if self.semantic is not None:
            true_points = true_control_points(self.dataset, task.video, semantic=self.semantic)

        def kept(prediction: Prediction) -> dict[str, Any]:
            scorer = Scorer(self.plan.protocols)
            scorer.add(
                task.video.video_id,
                prediction,
                truth,
                result.control_points,
                truth_control_points=true_points,
                frame_s=1.0,  # the benchmarks' sampling: a frame a second
            )
            return scorer.record(task.video.video_id)

        before = kept(result.base)
        # Where nothing was edited the refined scores are the base's own, unless logits became probabilities.
        same = not result.changed and result.base.kind != "logit"
        return before, before if same else kept(result.prediction)

    def write(self, task: Task, result: Result, facts: dict[str, Any]) -> None:
        """Write all of a video beside its place, then move it in; the record comes last and makes it count."""
        stage = self.folder.make_stage(task)
        write_masks(stage / "masks", result.prediction)
        barriers.reached("masks staged")
        scores = self.plan.scores
        if scores != "none" and result.prediction.kind != "hard":
            write_scores(stage / "scores.npz", result.prediction, storage=scores)
            barriers.reached("scores staged")
        record = {
            "video": task.video.video_id,
            **facts,
            "outputs": {name: digest(stage / name) for name in ("masks", "scores.npz") if (stage / name).exists()},
            "control_points": json.loads(result.control_points.to_json()),
            "segments": [[s.start, s.stop, s.anchor] for s in result.segments],
            "changed_frames": list(result.changed),
            "notes": list(result.notes),
            "why": list(result.why),
        }
        (stage / "record.json").write_bytes(record_bytes(record))
        barriers.reached("record staged")
        self._move_in(task)

    def _move_in(self, task: Task) -> None:
        folder, stage = self.folder, self.folder.stage_name(task)
        if folder.inside.remove(folder.record_name(task)):
            barriers.reached("record withdrawn")
        if folder.inside.remove(folder.masks_name(task)):
            barriers.reached("masks removed")
        folder.move(f"{stage}/masks", folder.masks_name(task), "masks moved")
        if folder.inside.is_file(f"{stage}/scores.npz"):
            folder.move(f"{stage}/scores.npz", folder.scores_name(task), "scores moved")
        folder.move(f"{stage}/record.json", folder.record_name(task), "record moved")
        if folder.inside.remove(folder.failure_name(task)):
            barriers.reached("failure withdrawn")
        folder.inside.remove(stage)

    def _is_done(self, task: Task, inputs: dict[str, str], record: Mapping[str, Any] | None) -> bool:
        """Whether an earlier run finished the video from the same files, and its own are still there whole."""
        if record is None:
            if self.folder.inside.exists(self.folder.record_name(task)):
                self.folder.log(
                    "done again", file=self.folder.record_name(task), why="its content is not what was written"
                )
            return False
        places = {"masks": self.folder.masks_name(task), "scores.npz": self.folder.scores_name(task)}
        found = {name: digest(self.folder.path / place) for name, place in places.items() if self._is_own(place)}
        scored = {name for side in ("before", "after") for name in record[side]["sums"]}
        if (record["outputs"], record["inputs"], scored) != (found, inputs, set(self.plan.protocols)):
            return False
        try:
            for side in ("before", "after"):
                Scorer(self.plan.protocols).restore(task.video.video_id, record[side])
        except (ValueError, KeyError, TypeError):
            return False  # scored by a rule that has changed: done again
        self.folder.inside.remove(self.folder.failure_name(task))
        return True

    def _is_own(self, name: str) -> bool:
        return self.folder.inside.is_folder(name) or self.folder.inside.is_file(name)

    def _words(self, failure: Exception, task: Task) -> str:
        """One line for a person: our errors as they are, others with their type; folders by name, not by place."""
        text = str(failure) if isinstance(failure, CoPropError) else f"{type(failure).__name__}: {failure}"
        for root in filter(None, (task.source.path, self.plan.data_root, self.plan.semantic_root)):
            text = text.replace(f"{root}/", f"{root.name}/")
        return text


def one_thread() -> None:
    """One thread in torch and OpenCV: with several, sums can differ in the last digit from one machine to the next."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def locate(source: Source, video: Video) -> Path:
    """The file or folder of a video's saved prediction; the usual places are tried before the folder is listed.

    Raises:
        PredictionError: nothing there, or links that lead out.
        CoPropError: the same video twice, in two forms.
    """
    root, name = source.path, video.video_id
    places = [root / name, *(root / video.group / name for _ in filter(None, [video.group]))]
    files = [] if name.isdecimal() else [p for suffix in SINGLE if (p := root / f"{name}{suffix}").is_file()]
    arrays = [p for p in files if p.suffix in ARRAYS]
    found = [p for p in places if p.is_dir()] + (arrays or files)
    if len(found) > 1:
        raise CoPropError(f"{root}: the video '{name}' lies there twice: {', '.join(p.name for p in found)}.")
    if len(found) == 1 and not leads_out(found[0], root):
        return find_prediction(found[0])
    return find_prediction(root, name)  # lists the folder, and says what is wrong


def data_digests(dataset: AVSBench, video: Video) -> dict[str, str]:
    """Hashes of a video's frames, sound and masks."""
    layout = dataset.layout
    masks = (str(Path(layout.mask_file(video, 0, folder=folder)).parent) for folder in layout.masks)
    places = {
        "frames": layout.frames_folder(video),
        "sound": layout.sound_file(video),
        "truth": next((m for m in masks if dataset.path(m).is_dir()), None),
    }
    paths = {role: dataset.path(place) for role, place in places.items() if place}
    return {role: digest(path) for role, path in paths.items() if path.exists()}


def held(prediction: Prediction) -> Prediction:
    """The same prediction in memory where it is small: it is looked at several times."""
    if prediction.kind == "hard":
        labels = prediction.label_maps()
        if np.prod(labels.shape) * labels.dtype.itemsize > HELD_BYTES:
            return prediction
        return Prediction.from_labels(
            locked(np.asarray(labels)), class_ids=prediction.class_ids, names=prediction.names, source=prediction.source
        )
    if np.prod(prediction.scores.shape) * 4 > HELD_BYTES:
        return prediction
    scores = locked(np.stack([prediction.frame(t) for t in range(prediction.num_frames)]))
    own = None if prediction.labels is None else locked(np.asarray(prediction.label_maps()))
    return replace(prediction, scores=scores, labels=own)


def points_of(record: dict[str, Any]) -> ControlPoints:
    """The control points that a record holds."""
    return ControlPoints.from_json(json.dumps(record["control_points"]))
