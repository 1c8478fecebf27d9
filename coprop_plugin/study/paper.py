"""The paper's tables on library clips: small trained base models, the paper's policy and the default beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import parts
from ..adapters.base import Adapter
from ..coprop import CoProp
from ..errors import CoPropError
from ..files import parse_json, read_text
from ..files.schema import Maybe, Number, Record, Text
from ..metrics.bootstrap import paired_bootstrap
from ..metrics.protocols import score
from ..structures import ControlPoints, Prediction, Result
from ..structures.frozen import locked
from .cases import Case
from .harm import harm
from .paper_rows import TRUTH, Cell, Line

PROTOCOLS = {
    "M_J": "avsbench, of any object, of label maps; mean over clips",
    "M_F": "avsbench, batches of one clip; mean over clips",
    "alignment": "alignment_binary@0.5; mean over clips",
    "J_key, J_normal": "split by the control points that were used; mean over the clips that have such frames",
}
METRICS = ("M_J", "M_F", "alignment", "J_key", "J_normal")
_LINE = Record(
    needed={
        "of": Text(),
        "set": Text(),
        "clip": Text(),
        "cell": Record(needed={name: Text() for name in ("base", "points", "propagator", "policy")}),
        "values": Record(needed={name: Maybe(Number(0, 1)) for name in METRICS}),
    }
)


def evaluate(prediction: Prediction, truth: Prediction, points: ControlPoints | None) -> dict[str, float | None]:
    """The metrics of one clip, as shares; ``None`` where one is not defined."""
    told = score(prediction.hardened(), truth, protocol=["avsbench", "alignment"])
    soft = score(prediction, truth, protocol="avsbench")
    values: dict[str, float | None] = {
        "M_J": told["avsbench"]["M_J"],
        "M_F": soft["M_F"],
        "alignment": told["alignment"]["alignment_binary@0.5"],
        "J_key": None,
        "J_normal": None,
    }
    if points is not None:
        for name, kept in (("J_key", points.flags), ("J_normal", ~points.flags)):
            values[name] = _frames_j(prediction, truth, np.flatnonzero(kept))
    return values


def _frames_j(prediction: Prediction, truth: Prediction, frames: np.ndarray) -> float | None:
    if not len(frames):
        return None
    chosen = [
        Prediction.from_labels(locked(np.stack([p.label_map(t) for t in frames])), class_ids=p.class_ids)
        for p in (prediction, truth)
    ]
    return float(score(*chosen, protocol="avsbench")["M_J"])


class Values:
    """Per-clip values of all cells, kept in a file a line each as they come, so that a stopped study goes on.

    Args:
        path: the file; values of another study in it are neither taken nor touched.
        key: what the values of a cell depend on beside its names: the weights behind them, the library, the frames' size.
    """

    def __init__(self, path: Path | None, *, key: Callable[[Cell], str]) -> None:
        self._path, self._key = path, key
        self._held: dict[tuple[str, str, Cell], dict[str, float | None]] = {}
        if path is not None and path.is_file():
            for text in read_text(path, what="the values of a study").splitlines():
                try:
                    told = parse_json(text, form=_LINE, where=str(path))
                    cell = Cell(**told["cell"])
                    if told["of"] == key(cell):
                        self._held[told["set"], told["clip"], cell] = told["values"]
                except CoPropError:
                    continue  # a line that was cut when the study was stopped: worked out again

    def __contains__(self, key: tuple[str, str, Cell]) -> bool:
        return key in self._held

    def put(self, key: tuple[str, str, Cell], values: Mapping[str, float | None]) -> None:
        self._held[key] = dict(values)
        if self._path is not None:
            told = {
                "of": self._key(key[2]),
                "set": key[0],
                "clip": key[1],
                "cell": asdict(key[2]),
                "values": dict(values),
            }
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" * self._cut() + json.dumps(told) + "\n")

    def of(self, name: str, clips: Iterable[str], cell: Cell, metric: str) -> list[float | None]:
        return [self._held[name, clip, cell][metric] for clip in clips]

    def lines(self) -> list[dict[str, Any]]:
        """All values, a line a clip and cell."""
        return [{"set": name, "clip": clip, **asdict(cell), **v} for (name, clip, cell), v in self._held.items()]

    def _cut(self) -> bool:
        assert self._path is not None
        if not self._path.is_file() or not self._path.stat().st_size:
            return False
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) != b"\n"


def run(
    sets: Mapping[str, Callable[[], Iterator[Case]]],
    models: Mapping[str, Adapter],
    propagators: Mapping[str, Any],
    rows: Sequence[Line],
    values: Values,
    *,
    progress: Callable[[str], None] = lambda text: None,
    keep: Callable[[str, Case, str, Result | Prediction], None] = lambda name, case, base, made: None,
) -> dict[str, list[str]]:
    """Work out what is missing of all cells; returns the clips of each set.

    Args:
        sets: clips by the set's name; they are gone through once.
        models, propagators: by the names that the cells use.
        rows: the tables.
        values: filled.
        progress: called with each clip's name.
        keep: shown each base model's masks of each clip that is worked on.

    Raises:
        CoPropError: clips that something was fitted on.
    """
    cells = list(dict.fromkeys(row.cell for row in rows if row.cell is not None))
    cells = [*(Cell(base) for base in dict.fromkeys(cell.base for cell in cells)), *cells]
    cells = list(dict.fromkeys(cells))
    wanted = {cell.points for cell in cells} - {"", TRUTH}
    generators = {
        name: parts.build("control_points", parts.parse(name, kind="control_points")) for name in sorted(wanted)
    }
    clips: dict[str, list[str]] = {}
    for name, cases in sets.items():
        for case in cases():
            if not case.held_out:
                raise CoPropError(
                    f"clip '{case.name}' is of a training part; the paper's tables are of held-out clips."
                )
            clips.setdefault(name, []).append(case.name)
            progress(f"{name}: {case.name}")
            missing = [cell for cell in cells if (name, case.name, cell) not in values]
            found: dict[str, ControlPoints] = {TRUTH: case.points}
            for base_name in dict.fromkeys(cell.base for cell in missing):
                base = _held(models[base_name].predict(case.clip))
                keep(name, case, base_name, base)
                for cell in (cell for cell in missing if cell.base == base_name):
                    if not cell.policy:
                        values.put((name, case.name, cell), evaluate(base, case.truth, None))
                        continue
                    if cell.points not in found:
                        found[cell.points] = generators[cell.points](case.clip)
                    points = found[cell.points]
                    method = CoProp(control_points=points, propagator=propagators[cell.propagator], fusion=cell.policy)
                    refined = method(case.clip, base).prediction
                    values.put((name, case.name, cell), evaluate(refined, case.truth, points))
    return clips


def _held(prediction: Prediction) -> Prediction:
    """In memory: it is read for every cell."""
    labels = None if prediction.labels is None else locked(np.asarray(prediction.labels))
    return replace(prediction, scores=locked(np.asarray(prediction.scores)), labels=labels)


def summary(rows: Sequence[Line], values: Values, clips: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """A line a row and set: means in percent, the change to the base model with its 95 % interval over clips, and harm."""
    told: list[dict[str, Any]] = []
    for row in rows:
        if row.cell is None:
            told.append({"table": row.table, "row": row.name, "not run": row.reason})
            continue
        for name, ids in clips.items():
            line: dict[str, Any] = {
                "table": row.table,
                "row": row.name,
                "set": name,
                "clips": len(ids),
                **asdict(row.cell),
            }
            line["data"] = "library clips"
            for metric in METRICS:
                known = [value for value in values.of(name, ids, row.cell, metric) if value is not None]
                line[metric] = 100 * float(np.mean(known)) if known else None
            if row.cell.policy:
                for metric in ("M_J", "M_F", "alignment"):
                    before, after = (
                        np.array(values.of(name, ids, cell, metric), float) for cell in (Cell(row.cell.base), row.cell)
                    )
                    change = paired_bootstrap(before, after)
                    line[f"{metric} change"] = [100 * x for x in (change.delta, change.low, change.high)]
                    if metric == "M_J":
                        line["harm"] = harm(before.tolist(), after.tolist(), ids).as_dict()
            told.append(line)
    return told
