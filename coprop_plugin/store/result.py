"""The result of one clip on disk: masks, scores, control points and what made them; and the way back."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from ..errors import CoPropError, PredictionError, unknown_name
from ..files import Folder, atomic_write, read_text
from ..media.images import IGNORED_VALUE, PaletteName, write_label_png
from ..structures import Clip, ControlPoints, Prediction, Segment
from ..structures.classes import check_class_ids
from . import manifest as run
from .frame_files import entries, frame_files
from .label_folder import read_label_folder
from .label_values import label_values
from .output import check_storable, output_folder
from .scores import read_scores, write_scores

ScoreFile = Literal["float32", "float16", "none"]
BaseFiles = Literal["masks", "scores", "none"]


class ResultLike(Protocol):
    """What ``CoProp`` returns, as far as it is stored."""

    @property
    def prediction(self) -> Prediction: ...
    @property
    def control_points(self) -> ControlPoints: ...
    @property
    def segments(self) -> Iterable[Segment]: ...
    @property
    def base(self) -> Prediction | None: ...
    @property
    def changed(self) -> Iterable[int]: ...
    @property
    def notes(self) -> Iterable[str]: ...
    @property
    def why(self) -> Iterable[str]: ...


@dataclass(frozen=True)
class StoredResult:
    """A result as it was read back: ``prediction``, ``base`` (``None``: not stored), ``control_points``, ``manifest``."""

    prediction: Prediction
    base: Prediction | None
    control_points: ControlPoints
    manifest: Mapping[str, Any]


def write_result(
    result: ResultLike,
    out_dir: str | Path,
    *,
    clip: Clip,
    configuration: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    palette: PaletteName = "avsbench",
    scores: ScoreFile = "float32",
    base: BaseFiles = "masks",
    extras: Mapping[str, Callable[[Path], object]] | None = None,
    log: Mapping[str, Any] | None = None,
) -> Path:
    """Write the result of one clip; equal results give equal bytes, and an earlier result is replaced as a whole.

    ``masks/<k>.png`` (indexed, at the prediction's own size), ``scores.npz``, ``control_points.json``,
    ``base/masks/<k>.png`` and ``run.json``. Times, host and absolute paths stand in ``run.log`` alone.

    Args:
        result: prediction, control points, segments and base prediction of the clip.
        out_dir: a new or empty folder, or one that holds an earlier result.
        clip: the clip that the result is of.
        configuration: the resolved configuration, to be stored.
        inputs: role -> file or folder; their hashes are stored.
        palette: colours of the masks.
        scores: ``float32`` keeps every bit, ``float16`` is lossy, ``none`` leaves the masks alone.
        base: what to keep of the base prediction (``none`` where it was run at keyframes alone); scores are kept
            without loss.
        extras: file name -> a function that writes it to the path it is given (an overlay, a report).
        log: more facts for ``run.log``.

    Returns:
        The folder.

    Raises:
        CoPropError: the folder holds other things; labels that do not fit in an 8-bit mask.
    """
    for option, given, allowed in (("scores", scores, ScoreFile), ("base", base, BaseFiles)):
        if given not in get_args(allowed):
            raise unknown_name(f"{option} option", given, get_args(allowed))
    check_storable(result.prediction.class_ids)
    kept_base = result.base if base != "none" else None
    inputs = inputs or {}
    base_scores: ScoreFile = "float32" if base == "scores" else "none"
    content: dict[str, Any] = {
        **_describe_run(result, clip),
        "configuration": dict(configuration or {}),
        "inputs": {role: {"name": Path(p).name, "digest": run.digest(p)} for role, p in inputs.items()},
        "prediction": _describe(result.prediction, scores),
        "base": _describe(kept_base, base_scores) if kept_base else None,
    }
    with output_folder(out_dir, content) as stage:
        _write_prediction(stage, result.prediction, scores, palette)
        if kept_base:
            _write_prediction(stage / "base", kept_base, base_scores, palette)
        with atomic_write(stage / "control_points.json", "wb") as file:
            file.write(result.control_points.to_json().encode())
        for name, write in (extras or {}).items():
            write(stage / name)
    _append_log(Path(out_dir), {"inputs": {role: str(Path(p).absolute()) for role, p in inputs.items()}, **(log or {})})
    return Path(out_dir)


def write_masks(folder: str | Path, prediction: Prediction, *, palette: PaletteName = "avsbench") -> None:
    """Write the label maps as indexed PNGs ``<k>.png`` from 0; ignored pixels become 255.

    Raises:
        MediaError: a class id above 254.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(prediction.num_frames):
        write_label_png(folder / f"{t}.png", prediction.label_map(t), palette=palette)


def read_result(folder: str | Path) -> StoredResult:
    """Read what :func:`write_result` wrote; scores and labels are exactly those that were written.

    Raises:
        PredictionError: no result, an unfinished or a damaged one.
    """
    folder = Path(folder)
    content = run.read_manifest(folder)
    path = folder / "control_points.json"
    if path not in entries(folder):  # which also refuses links that lead out
        raise PredictionError(f"{folder}: control_points.json is missing; the result is damaged.")
    try:
        points = ControlPoints.from_json(read_text(path, what="control points", error=PredictionError))
    except CoPropError as error:
        raise PredictionError(f"{path}: {error} The result is damaged.") from error
    prediction = _read_prediction(folder, content.get("prediction"))
    base = _read_prediction(folder / "base", content["base"]) if content.get("base") else None
    if len(points) != prediction.num_frames:
        raise PredictionError(f"{folder}: {len(points)} control-point flags for {prediction.num_frames} frames.")
    return StoredResult(prediction, base, points, content)


def _write_prediction(folder: Path, prediction: Prediction, scores: ScoreFile, palette: PaletteName) -> None:
    write_masks(folder / "masks", prediction, palette=palette)
    if scores != "none" and prediction.kind != "hard":
        write_scores(folder / "scores.npz", prediction, storage=scores)


def _describe(prediction: Prediction, scores: ScoreFile) -> dict[str, Any]:
    stored = scores if prediction.kind != "hard" else "none"
    return {
        "class_ids": list(prediction.class_ids),
        "names": {str(c): name for c, name in prediction.names.items()},
        "num_frames": prediction.num_frames,
        "size": list(prediction.size),
        "kind": prediction.kind,
        "scores": stored,
        "own_labels": prediction.labels is not None,
        "notes": list(prediction.notes),
    }


def _describe_run(result: ResultLike, clip: Clip) -> dict[str, Any]:
    return {
        "versions": run.versions(),
        "clip": {
            "clip_id": clip.clip_id,
            "num_frames": clip.num_frames,
            "size": list(clip.size),
            "sampling": str(clip.time_base.sampling),
            "sound_rate_hz": clip.sound.rate_hz,
        },
        "segments": [run.plain(segment) for segment in result.segments],
        "changed_frames": list(result.changed),
        "notes": list(result.notes),
        "why": list(result.why),
    }


def _read_prediction(folder: Path, description: Any) -> Prediction:
    """The prediction that the manifest describes; the manifest may have been edited, so its form is checked."""
    try:
        class_ids = tuple(int(c) for c in description["class_ids"])
        names = {int(c): str(name) for c, name in description["names"].items()}
        num_frames, scores = int(description["num_frames"]), str(description["scores"])
        own_labels, notes = bool(description["own_labels"]), tuple(map(str, description.get("notes", ())))
        check_class_ids(class_ids)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PredictionError(f"{folder}: {run.NAME} does not describe a prediction ({error}).") from error
    entries(folder)  # refuses links that lead out
    files = frame_files(folder / "masks", suffixes=(".png",), first_index=0)
    masks = read_label_folder(files, values=label_values(classes=class_ids, ignore=IGNORED_VALUE))
    prediction = masks if scores == "none" else read_scores(folder / "scores.npz")
    if prediction.num_frames != num_frames or masks.num_frames != num_frames or prediction.class_ids != class_ids:
        raise PredictionError(
            f"{folder}: {run.NAME} tells of {num_frames} frames of the classes {class_ids}, the files hold "
            f"{masks.num_frames} masks and {prediction.num_frames} frames of {prediction.class_ids}."
        )
    labels = masks.labels if own_labels and prediction is not masks else prediction.labels
    return replace(prediction, names=names, labels=labels, notes=notes)


def _append_log(folder: Path, facts: Mapping[str, Any]) -> None:
    line = {
        "written": datetime.now(UTC).isoformat(),
        "host": platform.node(),
        "folder": str(folder.absolute()),
        **facts,
    }
    Folder(folder).append("run.log", json.dumps(line, default=str) + "\n")
