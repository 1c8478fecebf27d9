"""How well generators' control points agree with known ones: the table of ``study control-points``."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..control_points.base import ControlPointGenerator
from ..errors import CoPropError
from ..metrics.control_points import TOLERANCES, changes, list_sums, point_scores
from ..metrics.onsets import paired
from ..metrics.sound_events import segment_scores, segment_sums
from ..rescore.worker import held
from ..structures import ControlPoints, Prediction
from .clips import Known
from .propagation import Propagation

PAIRED_WITHIN_FRAMES = max(TOLERANCES)
ASKED_TOGETHER = 16  # clips whose sound is in memory at once; language models that batch answer them together
TRUTH = "truth"  # stands among the generators for the true control points


@dataclass
class Tally:
    """What one generator found in the clips so far.

    Where another generator stood in (a language model gave no list), its list is no find of this one: such clips are
    counted in ``fallbacks`` and scored apart.
    """

    clips: int = 0
    sums: list[Mapping[str, Any]] = field(default_factory=list)
    changes_true: int = 0
    named: list[Mapping[str, Any]] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    calls: int | None = None
    fallbacks: int = 0
    by_clip: list[dict[str, Any]] = field(default_factory=list)

    def ask(
        self, generator: ControlPointGenerator, clips: Sequence[Known], *, base: Prediction | None = None
    ) -> list[ControlPoints]:
        """Run the generator on some clips and note how it did; ``base`` is given to each."""
        calls, wall_s, cpu_s = generator.calls, time.perf_counter(), time.process_time()
        found = generator.many([known.clip for known in clips], bases=[base] * len(clips))
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += time.process_time() - cpu_s
        if calls is not None:
            self.calls = (self.calls or 0) + (generator.calls or 0) - calls
        for points, known in zip(found, clips, strict=True):
            self._note(points, known)
        return found

    def _note(self, points: ControlPoints, known: Known) -> None:
        truth, time_base = known.points.flags, known.clip.time_base
        self.clips, self.changes_true = self.clips + 1, self.changes_true + len(changes(truth))
        fell_back = points.origin.fallback is not None
        lists = {"changes_true": changes(truth), "changes_predicted": changes(points.flags)}
        self.by_clip.append({"clip": known.clip.clip_id, **lists, "fallback": fell_back})
        if fell_back:
            self.fallbacks += 1
            return
        self.sums.append(list_sums(points.flags, truth))
        self.by_clip[-1] |= _own_scores(self.sums[-1])
        said, wanted = names_of(points), names_of(known.points)
        if said is not None and wanted is not None:
            self.named.append(segment_sums(said, wanted))
        frame_s = time_base.duration_s / len(time_base)
        pairs = paired(changes(points.flags), changes(truth), within_frames=PAIRED_WITHIN_FRAMES)
        self.lags_s += [n * frame_s for n in pairs]

    def row(self) -> dict[str, Any]:
        """The numbers.

        ``F1@d``, ``precision@d``, ``recall@d`` within d frames (micro, frame 0 left out); ``exact_list``: the share of
        clips with exactly the right list; ``error_s``: the mean distance of true changes and found ones that are at
        most ``PAIRED_WITHIN_FRAMES`` apart, and ``lag_s``: the same with its sign (positive: found too late), both
        ``None`` where nothing is paired; ``segment_F1`` and ``segment_error_rate`` of the names of what sounds, frame by
        frame (``None`` where the generator or the truth names nothing); ``clips``, ``changes_true``, ``changes_predicted``; ``calls``: questions that
        went to a model in all (``None``: the generator asks none), ``fallbacks``: clips where another generator stood
        in, which no score counts (all scores are ``None`` where it always did); ``seconds`` and ``cpu_ms``: wall and processor time a clip, reading left out.
        """
        names = [f"{kind}@{d}" for kind in ("F1", "precision", "recall") for d in TOLERANCES] + ["exact_list"]
        scores, predicted = dict.fromkeys(names), 0
        if self.sums:
            totals = {name: np.sum([clip_sums[name] for clip_sums in self.sums], axis=0)[None] for name in self.sums[0]}
            found = point_scores(totals)
            scores, predicted = {name: float(found[name][0]) for name in names}, int(totals["predicted"][0])
        return {
            "clips": self.clips,
            **scores,
            "error_s": float(np.abs(self.lags_s).mean()) if self.lags_s else None,
            "lag_s": float(np.mean(self.lags_s)) if self.lags_s else None,
            **self._of_names(),
            "changes_true": self.changes_true,
            "changes_predicted": predicted,
            "calls": self.calls,
            "fallbacks": self.fallbacks,
            "seconds": self.wall_s / self.clips,
            "cpu_ms": 1000 * self.cpu_s / self.clips,
        }

    def _of_names(self) -> dict[str, float | None]:
        wanted = ("segment_F1", "segment_error_rate")
        if not self.named:
            return dict.fromkeys(wanted)
        totals = {name: np.sum([one[name] for one in self.named])[None] for name in self.named[0]}
        scores = {name: float(values[0]) for name, values in segment_scores(totals).items()}
        return {name: None if np.isnan(scores[name]) else scores[name] for name in wanted}


def names_of(points: ControlPoints) -> list[frozenset[str]] | None:
    """``(T,)`` the names of what sounds in each frame; ``None`` where a segment that is not silent has none."""
    sets: list[frozenset[str]] = []
    for segment in points.segments():
        if segment.categories is None and not segment.silent:
            return None
        sets += [frozenset(() if segment.silent else segment.categories or ())] * (segment.stop - segment.start)
    return sets


def _own_scores(sums: Mapping[str, Any]) -> dict[str, float]:
    """F1 within each tolerance of one clip."""
    scores = point_scores({name: np.asarray(value)[None] for name, value in sums.items()})
    return {f"F1@{d}": float(scores[f"F1@{d}"][0]) for d in TOLERANCES}


def agreement(generator: ControlPointGenerator, clips: Iterable[Known]) -> dict[str, Any]:
    """Run one generator on clips and score it; see :meth:`Tally.row`."""
    tally = Tally()
    for chunk in chunks(clips):
        tally.ask(generator, chunk)
    return tally.row()


def compare(
    clips: Iterable[Known],
    generators: Mapping[str, ControlPointGenerator | None],
    *,
    propagation: Propagation | None = None,
    progress: Callable[[str], None] = lambda name: None,
    per_clip: Callable[[dict[str, Any]], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Rows of all generators on the same clips; what they do to base predictions is noted in ``propagation``.

    A generator that wants the base prediction (``from_masks``) has a row for every base model; ``None`` stands for the
    true points. Clips are read and let go, some at a time. ``per_clip`` is given, at the end, what each generator found
    in each clip: its changes (frame indices), the true ones, whether a fallback stood in, and where not, F1 (shares).

    Raises:
        CoPropError: no clips, or a generator that wants a base model without one.
    """
    tallies: dict[str, Tally] = {}
    asked = {name: generator for name, generator in generators.items() if generator is not None}
    on_masks = {name for name, generator in asked.items() if generator.wants_base}
    found: dict[str, list[ControlPoints]] = {}
    for chunk in chunks(clips):
        found = {TRUTH: [known.points for known in chunk]}
        for name in [name for name in asked if name not in on_masks]:
            found[name] = tallies.setdefault(name, Tally()).ask(asked[name], chunk)
        for i, known in enumerate(chunk):
            if on_masks and not known.bases:
                raise CoPropError(f"{min(on_masks)} looks at a base model's masks; name --simulators or --predictions.")
            progress(known.clip.clip_id)
            for base_name, read in known.bases.items():
                base = held(read)
                points = {name: found[name][i] for name in generators if name not in on_masks}
                for name in on_masks:
                    tally = tallies.setdefault(f"{name} on {base_name}", Tally())
                    (points[name],) = tally.ask(asked[name], [known], base=base)
                if propagation is not None:
                    propagation.add(known, base_name, base, {name: points[name] for name in generators})
    if not found:
        raise CoPropError("there are no clips to compare control points on.")
    for name, tally in tallies.items():
        for line in tally.by_clip:
            per_clip({"generator": name, **line})
    return [{"generator": name, **tally.row()} for name, tally in tallies.items()]


def chunks(clips: Iterable[Known]) -> Iterator[list[Known]]:
    """The clips, some at a time."""
    rest = iter(clips)
    while chunk := list(itertools.islice(rest, ASKED_TOGETHER)):
        yield chunk
