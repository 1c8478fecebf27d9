"""How well generators' control points agree with known ones: the table of ``study control-points``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..control_points.events import BRIDGED_S, points_of_intervals
from ..control_points.sound_only import clip_of_sound
from ..errors import CoPropError
from ..metrics.control_points import TOLERANCES, changes, list_sums, point_scores
from ..metrics.onsets import paired
from ..structures import Clip, ControlPoints

Generator = Callable[[Clip], ControlPoints]
Known = tuple[Clip, np.ndarray]  # a clip and its true flags (T,)
PAIRED_WITHIN_FRAMES = max(TOLERANCES)


def agreement(generator: Generator, clips: Iterable[Known]) -> dict[str, Any]:
    """Run a generator on clips with true flags ``(T,)`` and score it.

    Returns:
        ``F1@d``, ``precision@d``, ``recall@d`` within d frames (micro, frame 0 left out); ``exact_list``: the share of
        clips with exactly the right list; ``error_s``: the mean distance of true changes and found ones that are at
        most ``PAIRED_WITHIN_FRAMES`` apart, and ``lag_s``: the same with its sign (positive: found too late), both
        ``None`` where nothing is paired; ``clips``, ``changes_true``, ``changes_predicted``;
        ``cpu_ms``: processor time a clip, reading left out.
    """
    sums: list[Mapping[str, Any]] = []
    lags_s: list[float] = []
    spent_s = 0.0
    for clip, truth in clips:
        begun_s = time.process_time()
        found = generator(clip).flags
        spent_s += time.process_time() - begun_s
        sums.append(list_sums(found, truth))
        frame_s = clip.time_base.duration_s / len(clip.time_base)
        lags_s += [n * frame_s for n in paired(changes(found), changes(truth), within_frames=PAIRED_WITHIN_FRAMES)]
    totals = {name: np.sum([clip_sums[name] for clip_sums in sums], axis=0)[None] for name in sums[0]}
    scores = {name: float(value[0]) for name, value in point_scores(totals).items()}
    kept = [name for name in scores if name.startswith(("F1@", "precision@", "recall@")) or name == "exact_list"]
    return {
        "clips": len(sums),
        **{name: scores[name] for name in kept},
        "error_s": float(np.abs(lags_s).mean()) if lags_s else None,
        "lag_s": float(np.mean(lags_s)) if lags_s else None,
        "changes_true": int(totals["true"][0]),
        "changes_predicted": int(totals["predicted"][0]),
        "cpu_ms": 1000 * spent_s / len(sums),
    }


def synthetic_clips(seeds: Iterable[int], *, kind: str = "moc") -> Iterator[Known]:
    """Synthetic clips with the control points that they were made from."""
    from ..datasets.synthetic import make_clip

    for seed in seeds:
        made = make_clip(seed, kind=kind)
        yield made.clip, made.scene.control_points().flags


def composed_clips(folder: str | Path) -> Iterator[Known]:
    """``NAME.json`` with ``file`` (a video beside it) and ``control_points``, a second each.

    Raises:
        CoPropError: the folder holds no such files, or one without those keys.
    """
    from ..media.reader import read_clip

    descriptions = sorted(Path(folder).glob("*.json"))
    if not descriptions:
        raise CoPropError(f"'{folder}' holds no composed clips (NAME.json beside a video).")
    for path in descriptions:
        told = _json(path)
        if not {"file", "control_points"} <= set(told):
            raise CoPropError(f"'{path}' describes no composed clip; it needs 'file' and 'control_points'.")
        clip = read_clip(path.parent / Path(told["file"]).name, sampling="avsbench")
        yield clip, np.array(told["control_points"], bool)


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

    files = _json(Path(intervals)).get("files")
    if not isinstance(files, dict) or not files:
        raise CoPropError(f"'{intervals}' holds no 'files': {{name: {{label: [[start_s, stop_s], …]}}}}.")
    for name, labels in files.items():
        clip = clip_of_sound(read_sound(Path(folder) / Path(name).name), clip_id=Path(name).stem)
        yield clip, points_of_intervals(labels, clip.time_base, bridged_s=bridged_s).flags


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CoPropError(f"'{path}' is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise CoPropError(f"'{path}' holds a {type(told).__name__}; expected an object with names.")
    return told
