"""The one place that puts a result folder together, whoever asks: ``coprop refine``, ``cp.save``, the MMEngine hook."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import unknown_name
from ..store import check_output, write_result
from ..store.coco import write_coco, write_youtube_vis
from ..store.manifest import versions
from ..store.result import ScoreFile
from ..structures import Clip, Prediction, Result
from .html import Page, report_page, write_page
from .overlay import write_overlay

FORMS: dict[str, tuple[str, Callable[..., object]]] = {
    "coco": ("masks.coco.json", write_coco),
    "youtube-vis": ("masks.youtube-vis.json", write_youtube_vis),
}


def save(
    result: Result,
    folder: str | Path,
    *,
    clip: Clip | None = None,
    truth: Prediction | None = None,
    score_table: Sequence[Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    scores: ScoreFile = "float32",
    overlay: bool = True,
    page: bool = True,
    also: Sequence[str] = (),
) -> Path:
    """Write a result as the folder that ``coprop refine`` writes; an earlier result there is replaced as a whole.

    ``masks/``, ``scores.npz``, ``control_points.json``, ``base/masks/``, ``run.json`` and ``run.log`` (see
    :func:`coprop_plugin.store.write_result`), ``scores.json`` where there is a truth, ``overlay.mp4``, ``report.html``.
    Of a base model that was run at keyframes alone there are no masks to keep or to show beside.

    Args:
        result: what ``CoProp`` returned.
        folder: a new or empty folder, or one that holds an earlier result.
        clip: what was refined, where the result does not hold it.
        truth: true masks: the page shows them, and scores before and after are computed unless given.
        score_table: rows of :func:`coprop_plugin.metrics.compare.score_rows`.
        settings: the resolved configuration, kept with the result and shown on the page.
        inputs: role -> file or folder; their hashes are stored.
        scores: how scores are stored: ``float32``, ``float16`` (lossy) or ``none`` for masks alone.
        overlay: write the overlay video.
        page: write the report.
        also: more forms of the masks: ``coco`` and ``youtube-vis`` (JSON of run lengths).

    Returns:
        The folder.

    Raises:
        CoPropError: no clip, the folder holds other things, or labels that do not fit in an 8-bit mask.
    """
    check_output(folder)  # before any work
    clip = result.clip_of(clip)
    settings = dict(settings or {})
    rows = _rows(result, clip, truth) if score_table is None else list(score_table)
    everywhere = result.base_frames is None
    extras: dict[str, Callable[[Path], object]] = {}
    for form in also:
        if form not in FORMS:
            raise unknown_name("form of masks", form, FORMS)
        name, write = FORMS[form]
        extras[name] = partial(write, prediction=result.prediction)
    if rows:
        extras["scores.json"] = lambda path: path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if overlay:
        extras["overlay.mp4"] = lambda path: write_overlay(
            path,
            clip,
            result.prediction,
            base=result.base if everywhere else None,
            control_points=result.control_points,
        )
    if page and everywhere:
        text = report(result, clip=clip, truth=truth, score_table=rows, settings=settings)
        extras["report.html"] = lambda path: write_page(path, text)
    return write_result(
        result,
        folder,
        clip=clip,
        configuration=settings,
        inputs=inputs,
        scores=scores,
        base="masks" if everywhere else "none",
        extras=extras,
    )


def report(
    result: Result,
    path: str | Path | None = None,
    *,
    clip: Clip | None = None,
    truth: Prediction | None = None,
    score_table: Sequence[Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> Page:
    """The report of a result: one self-contained HTML page as text, also written to ``path`` where one is given.

    Args:
        path: an HTML file.
        clip, truth, score_table, settings: as for :func:`save`.
        title: by default the clip's id.

    Raises:
        CoPropError: no clip, or a base model that was run at keyframes alone: nothing can be shown beside.
    """
    clip = result.clip_of(clip)
    result.check_base()
    page = report_page(
        clip=clip,
        base=result.base,
        refined=result.prediction,
        control_points=result.control_points,
        segments=result.segments,
        truth=truth,
        scores=_rows(result, clip, truth) if score_table is None else score_table,
        settings={**(settings or {}), "versions": dict(versions())},
        notes=result.notes,
        why=result.why,
        heard=result.heard,
        title=title,
    )
    if path is not None:
        write_page(path, page)
    return page


def _rows(result: Result, clip: Clip, truth: Prediction | None) -> list[dict[str, Any]]:
    if truth is None:
        return []
    from ..metrics.compare import score_rows  # imports torch: what is not scored does without

    base = result.base if result.base_frames is None else None
    return score_rows(base, result.prediction, truth, video_id=clip.clip_id, control_points=result.control_points)
