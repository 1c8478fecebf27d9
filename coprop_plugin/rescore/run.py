"""A run from its plan to its tables: begun, gone on with, and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..files import atomic_write, locked
from . import barriers
from .compact import to_compact_latex
from .comparison import DRAWS, Comparison, make_comparison
from .folder import RunFolder
from .formats import to_csv, to_json, to_latex, to_text
from .pages import write_index, write_pages
from .plan import RunPlan
from .pool import Executor, Processes
from .published import published_beside
from .worker import Outcome

Pages = Literal["none", "extremes", "all"]
Latex = Literal["full", "compact"]
_LATEX = {"full": to_latex, "compact": to_compact_latex}
_FORMATS = {
    "comparison.json": to_json,
    "comparison.csv": to_csv,
    "comparison.txt": to_text,
}


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        folder: where it lies.
        comparison: the numbers.
        done, kept, failed: videos (of every method) worked off now, found whole from before, and without a result.
        notes: what is to be told about the run itself.
    """

    folder: Path
    comparison: Comparison
    done: int
    kept: int
    failed: int
    notes: tuple[str, ...] = ()


def rescore(
    plan: RunPlan,
    out: str | Path,
    *,
    engine: Executor | None = None,
    retry_failed: bool = False,
    pages: Pages = "extremes",
    published: bool = False,
    latex: Latex = "full",
    draws: int = DRAWS,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Refine and score every video of a plan, and compare; run again after an interruption, it goes on.

    Predictions, tables and pages are the same bytes whether or not it was interrupted, and whatever ``engine`` is.

    Args:
        plan: what to do (:func:`make_plan`).
        out: a new or empty folder, or one with the same run in it.
        engine: what works off the videos; here and in this process if none is given.
        retry_failed: try again what failed before.
        pages: per-video reports: of the worst and best videos, of all, or none.
        published: show printed numbers of the same test split beside this run's.
        latex: ``comparison.tex`` with every table, or the one that fits a paper's column.
        draws: of the bootstrap.
        progress: called with every outcome as it comes.

    Raises:
        CoPropError: the folder holds other things, another run, or is being written; nothing published is of these videos.
        OSError: the disk is full.
    """
    folder, engine = RunFolder(out), engine or Processes()
    folder.check()
    beside = published_beside(plan) if published else ()
    with locked(folder.path) as (lock, stale):
        goes_on = folder.begin(plan.manifest())
        how = {"engine": type(engine).__name__, "data": plan.data_root.absolute(), **_places(plan)}
        folder.log("begun", resumed=goes_on, **how)
        counts = {"done": 0, "kept": 0, "failed": 0, "failed before": 0}
        tasks = plan.tasks()
        for outcome in engine.work_off(plan, folder, tasks, lock=lock, retry_failed=retry_failed):
            counts[outcome.status] += 1
            if outcome.status in ("done", "failed"):
                task, facts = outcome.task, {"error": outcome.error, "trace": outcome.trace} if outcome.error else {}
                where = {"method": task.source.name, "video": task.video.video_id}
                folder.log(outcome.status, **where, wall_s=round(outcome.wall_s, 4), **facts)
            progress(outcome)
        comparison = make_comparison(plan, folder, draws=draws, published=beside)
        write_tables(folder, comparison, latex=latex)
        write_index(folder, comparison, write_pages(plan, folder, comparison, pages=pages))
        folder.clear()
        folder.log("ended", **counts)
    failed = counts["failed"] + counts["failed before"]
    return Summary(folder.path, comparison, counts["done"], counts["kept"], failed, tuple(filter(None, [stale])))


def write_tables(folder: RunFolder, comparison: Comparison, *, latex: Latex = "full") -> None:
    """The comparison in its four formats."""
    for name, render in {**_FORMATS, "comparison.tex": _LATEX[latex]}.items():
        with atomic_write(folder.path / name) as file:
            file.write(render(comparison))
        barriers.reached(f"{name} written")


def _places(plan: RunPlan) -> dict[str, object]:
    return {"predictions": {source.name: str(source.path.absolute()) for source in plan.sources}}
