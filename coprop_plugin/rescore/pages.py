"""The HTML of a run: an index of all its numbers, and a page for each video that is worth opening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ..adapters.saved_masks import read_prediction
from ..metrics.compare import side_by_side
from ..metrics.protocols import Scorer
from ..report.html import write_report
from ..report.index import VideoLink, write_index_page
from ..store.find import find_prediction
from ..structures import Prediction, Segment
from . import barriers
from .comparison import Comparison
from .folder import RunFolder
from .plan import RunPlan, Task
from .rows import VideoChange
from .tables import number, reference_tables, result_tables
from .worker import held, locate, points_of

SHOWN = 8  # worst and best videos of each method in the index


def extremes(comparison: Comparison) -> tuple[tuple[VideoChange, ...], tuple[VideoChange, ...]]:
    """Method after method, the videos that lost most and those that won most, the greatest change first; none in both."""
    worst: list[VideoChange] = []
    best: list[VideoChange] = []
    for name in _methods(comparison):
        own = [v for v in comparison.videos if v.method == name]
        worst += [v for v in own if v.change < 0][:SHOWN]
        best += [v for v in reversed(own) if v.change > 0][:SHOWN]
    return tuple(worst), tuple(best)


def write_pages(plan: RunPlan, folder: RunFolder, comparison: Comparison, *, pages: str) -> dict[tuple[str, str], str]:
    """Write the pages that are asked for; ``(method, video)`` -> the path of its page below the folder.

    Args:
        plan, folder, comparison: the run.
        pages: ``none``, ``extremes`` (the worst and best videos) or ``all``.
    """
    folder.inside.remove("pages")
    worst, best = extremes(comparison)
    chosen = {"none": (), "extremes": (*worst, *best), "all": comparison.videos}[pages]
    wanted = {(video.method, video.video) for video in chosen}
    dataset = plan.open_dataset()
    links = {}
    for task in plan.tasks():
        key = (task.source.name, task.video.video_id)
        if key not in wanted:
            continue
        record = folder.read_record(task)
        if record is None:
            continue
        page = folder.page(task)
        folder.inside.make(f"pages/{task.source.name}")
        clip = dataset.clip(task.video)
        base = held(read_prediction(locate(task.source, task.video), clip=clip, **plan.reading))
        write_report(
            page,
            clip=clip,
            base=base,
            refined=_refined(folder, task, base),
            control_points=points_of(record),
            segments=[Segment(start, stop, anchor=anchor) for start, stop, anchor in record["segments"]],
            truth=held(dataset.truth(task.video)),
            scores=_score_rows(plan, record),
            settings={**comparison.manifest["configuration"], "method": task.source.name},
            notes=record["notes"],
            why=record.get("why", ()),
            title=f"{task.video.video_id}, {task.source.name}",
        )
        barriers.reached("page written")
        links[key] = page.relative_to(folder.path).as_posix()
    return links


def write_index(folder: RunFolder, comparison: Comparison, links: dict[tuple[str, str], str]) -> None:
    """The run on one page."""
    dataset = comparison.manifest["dataset"]
    metric, protocol = comparison.ranked_by
    worst, best = extremes(comparison)

    def linked(videos: Sequence[VideoChange]) -> list[VideoLink]:
        return [
            VideoLink(
                v.method,
                v.video,
                number(v.before),
                number(v.after),
                number(v.change, sign="+"),
                v.changed_frames,
                quote(links[v.method, v.video]) if (v.method, v.video) in links else None,
            )
            for v in videos
        ]

    write_index_page(
        folder.path / "index.html",
        title=f"{dataset['layout'].upper()} {dataset['split']}, re-scored",
        headline=_headline(comparison),
        results=result_tables(comparison),
        references=reference_tables(comparison),
        changes={m: [v.change for v in comparison.videos if v.method == m] for m in _methods(comparison)},
        ranked_by=f"{metric}, protocol {protocol}" if metric else "",
        worst=linked(worst),
        best=linked(best),
        rules=comparison.rules,
        settings={**comparison.manifest["configuration"], "versions": comparison.manifest["versions"]},
        notes=comparison.notes,
    )
    barriers.reached("index written")


def _headline(comparison: Comparison) -> list[str]:
    """A sentence a method: its first number before and after, and how sure the change is."""
    told = []
    for method in _methods(comparison):
        row = next((r for r in comparison.rows if r.method == method), None)
        if row is None:
            told.append(f"{method}: no video could be scored.")
            continue
        interval = row.interval
        sure = "" if interval is None else f" (95 % interval {interval[0]:+.2f} to {interval[1]:+.2f})"
        told.append(
            f"{method}: {row.name} {number(row.before)} before, {number(row.after)} after, "
            f"{number(row.change, sign='+')}{sure}, over {row.videos} videos."
        )
    return told


def _methods(comparison: Comparison) -> list[str]:
    return [method["name"] for method in comparison.manifest["methods"]]


def _refined(folder: RunFolder, task: Task, base: Prediction) -> Prediction:
    """The masks that were written."""
    return held(read_prediction(find_prediction(folder.masks(task)), classes=base.class_ids))


def _score_rows(plan: RunPlan, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The video's own numbers under every protocol."""
    sides = []
    for side in ("before", "after"):
        scorer = Scorer(plan.protocols)
        scorer.restore(record["video"], record[side])
        sides.append(scorer.compute())
    return side_by_side(*sides)
