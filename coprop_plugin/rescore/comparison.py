"""From records to the comparison of a run: every method before and after, under every protocol, on every subset."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..metrics.compare import compare
from ..metrics.curves import compact
from ..metrics.protocols import Scorer
from ..metrics.scores import label
from ..metrics.sums import ratio, totals
from ..structures import AVSBENCH_NAMES
from .folder import RunFolder
from .notes import notes_of_intervals, notes_of_videos
from .plan import RunPlan, Source, Task
from .published import Published
from .rows import ClassRow, Row, VideoChange

DRAWS, LEVEL = 10000, 0.95
ALL, MOC = "all", "MOC"


@dataclass(frozen=True)
class Comparison:
    """All that a run tells.

    Attributes:
        manifest: of the run.
        rules: protocol -> its line; ``about`` method -> what was scored, and how.
        rows, classes, videos: numbers; ``videos`` are sorted from the greatest loss to the greatest gain.
        ranked_by: the metric and protocol of ``videos``.
        failures: ``(method, video, why)``.
        notes: sentences for the reader.
        published: printed numbers of the same videos, where they were asked for.
    """

    manifest: Mapping[str, Any]
    rules: Mapping[str, str]
    about: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]
    classes: tuple[ClassRow, ...]
    videos: tuple[VideoChange, ...]
    ranked_by: tuple[str, str]
    failures: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    published: tuple[Published, ...] = ()


def make_comparison(
    plan: RunPlan, folder: RunFolder, *, draws: int = DRAWS, published: tuple[Published, ...] = ()
) -> Comparison:
    """Read the records of a run, one method and protocol at a time.

    Args:
        plan, folder: the run.
        draws: of the bootstrap.
        published: what to show beside (:func:`.published.published_beside`).
    """
    rows: list[Row] = []
    classes: list[ClassRow] = []
    videos: list[VideoChange] = []
    rules: dict[str, str] = {}
    about: dict[str, Mapping[str, Any]] = {}
    counts: dict[str, int] = {}
    ranked_by = ("", "")
    for source in plan.sources:
        for place, protocol in enumerate(plan.protocols):
            before, after, changed = read_scorers(plan, folder, source, protocol)
            counts[source.name] = len(before.videos)
            if not _has_truth(before, protocol):
                continue
            scores = before.compute()
            rules[protocol] = str(scores.about["rule"])
            about.setdefault(source.name, {k: v for k, v in scores.about.items() if k != "rule"})
            rows += [
                row for name, ids in _subsets(plan, before) for row in _rows(source, name, before, after, ids, draws)
            ]
            classes += _class_rows(source, protocol, before, after)
            if place == 0:
                metric, changes = _video_changes(source, before, after, changed)
                videos += changes
                ranked_by = (metric, protocol)
    failures = tuple(_failures(plan, folder))
    videos.sort(key=lambda v: (v.change, v.method, v.video))
    return Comparison(
        manifest=plan.manifest(),
        rules=rules,
        about=about,
        rows=tuple(rows),
        classes=tuple(classes),
        videos=tuple(videos),
        ranked_by=ranked_by,
        failures=failures,
        notes=(*notes_of_videos(plan, counts), *notes_of_intervals(rows)),
        published=published,
    )


def read_scorers(
    plan: RunPlan, folder: RunFolder, source: Source, protocol: str
) -> tuple[Scorer, Scorer, dict[str, int]]:
    """The scorings of a method before and after under one protocol, and how many frames of each video were edited."""
    order = [video.video_id for video in plan.videos]
    sides = {side: Scorer(protocol, order=order) for side in ("before", "after")}
    changed = {}
    for video in plan.videos:
        record = folder.read_record(Task(source, video))
        if record is None:
            continue
        changed[video.video_id] = len(record["changed_frames"])
        for side, scorer in sides.items():
            kept = record[side]
            sums = kept["sums"][protocol] or {}
            short = {sys.intern(k): compact(v) if isinstance(v, list) else v for k, v in sums.items()}
            scorer.restore(video.video_id, {**kept, "sums": {protocol: short or None}})
    return sides["before"], sides["after"], changed


def _subsets(plan: RunPlan, scorer: Scorer) -> Iterable[tuple[str, list[str]]]:
    scored = scorer.video_ids()
    yield ALL, scored
    if chosen := [video for video in scored if video in set(plan.moc or ())]:
        yield MOC, chosen


def _rows(source: Source, subset: str, before: Scorer, after: Scorer, ids: list[str], draws: int) -> Iterable[Row]:
    sides = [scorer.subset(ids) for scorer in (before, after)]
    (family,) = sides[0].families().values()
    if not sides[0].rows(sides[0].protocols[0].name, ids):
        return
    differences = {}
    if family.one_row_a_video():
        (differences,) = compare(sides[0], sides[1], draws=draws, level=LEVEL).values()
    for old, new in zip(*(scorer.compute().rows() for scorer in sides), strict=True):
        yield Row(
            method=source.name,
            subset=subset,
            protocol=old.protocol,
            metric=old.metric,
            unit=old.unit,
            videos=len(ids),
            before=old.value,
            after=new.value,
            difference=differences.get(old.metric),
            masks=old.masks,
        )


def _has_truth(scorer: Scorer, protocol: str) -> bool:
    return any(record.sums[protocol] is not None for record in scorer.videos.values())


def _class_rows(source: Source, protocol: str, before: Scorer, after: Scorer) -> list[ClassRow]:
    """The published per-class means, where the protocol is one of the semantic ones."""
    sums = [totals(scorer.rows(protocol, scorer.video_ids())) for scorer in (before, after)]
    if len(before.class_ids) == 1 or set(sums[0]) != {"iou", "f", "frames"}:
        return []
    old, new = (
        {name: 100 * ratio(part[name][0], part["frames"][0]) for name in ("iou", "f")} | {"frames": part["frames"][0]}
        for part in sums
    )
    return [
        ClassRow(
            source.name,
            protocol,
            class_id,
            AVSBENCH_NAMES[class_id] if class_id < len(AVSBENCH_NAMES) else str(class_id),
            int(new["frames"][i]),
            *(_value(side[name][i]) for name in ("iou", "f") for side in (old, new)),
        )
        for i, class_id in enumerate((0, *before.class_ids))
        if old["frames"][i] or new["frames"][i]
    ]


def _video_changes(
    source: Source, before: Scorer, after: Scorer, changed: Mapping[str, int]
) -> tuple[str, list[VideoChange]]:
    """Every video's first number before and after."""
    found, metric = [], ""
    for video in before.video_ids():
        old, new = (scorer.subset([video]).compute().rows() for scorer in (before, after))
        if not old or old[0].value is None or new[0].value is None:
            continue
        metric = label(old[0].metric, old[0].masks)
        found.append(VideoChange(source.name, video, old[0].value, new[0].value, changed[video]))
    return metric, found


def _failures(plan: RunPlan, folder: RunFolder) -> Iterable[tuple[str, str, str]]:
    for task in plan.tasks():
        if (error := folder.read_failure(task)) is not None:
            yield task.source.name, task.video.video_id, error


def _value(number: float) -> float | None:
    return None if math.isnan(number) else float(number)
