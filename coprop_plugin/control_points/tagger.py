"""Control points from an audio tagger: what sounds in each moment, and where that changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..audio.tags import Tags, avsbench_table
from ..errors import CoPropError, unknown_name
from ..parts import part
from ..structures import Clip, ControlPoints, Origin, Prediction
from .base import ControlPointGenerator
from .ears import QUERIES, YAMNET, Ear, open_ear
from .segmentation import best_segments

Words = Literal["own", "avsbench"]
# A change of one sure class to another pays from one second on; for YAMNet fitted on library clips of the training part.
CHANGE, CHANGE_YAMNET = 0.5, 1.5
NAMED_FROM = 0.3
MOST_NAMES = 5
SILENCE = "silence"  # AudioSet's class of that name, in lower case
STRETCH_S = 60.0  # longer sounds are cut in stretches: cost grows with their square
_NEVER = 1e9


@part(
    "control_points",
    "tagger",
    needs="a tagger: yamnet (an installed package), or a folder or hub id",
    extra="yamnet",
    example="model=yamnet",
)
class Tagger(ControlPointGenerator):
    """Probabilities of sound classes in each moment, by YAMNet, AST, CLAP or PE-A-Frame, and change-points on them.

    Needs neither prompts nor a large model. Fills ``categories`` (classes of a mean probability from ``NAMED_FROM``
    on) and ``silent`` where the model has a class "Silence".

    Args:
        model: ``yamnet``, or the folder or hub id (in the local cache) of an ``ASTForAudioClassification``, a
            ``ClapModel`` or a ``PeAudioFrameLevelModel``.
        path: YAMNet's weights file; by default that of the installed package (``coprop doctor`` says which).
        names: YAMNet's list of classes, where it does not lie beside the weights.
        labels: what CLAP and PE-A-Frame are asked for; by default the base model's classes, else AVSBench's. The
            others bring their own.
        words: what ``categories`` are called: as the model does, or as AVSBench does, by a table of AudioSet's names.
        hop_s: seconds between answers; by default 0.24 for YAMNet, 1 for AST and CLAP.
        change: price of a change, in squared distance of probabilities' roots.
        device: ``auto``, or as torch names it.
        batch_size: windows that AST and CLAP hear at once.

    Attributes:
        calls: batches that the model heard so far.

    Raises:
        CoPropError: no such model, another kind of model, a package that is not installed, or options out of range.
    """

    def __init__(
        self,
        *,
        model: str | Path,
        path: str | Path | None = None,
        names: str | Path | None = None,
        labels: Sequence[str] | None = None,
        words: Words = "own",
        hop_s: float | None = None,
        change: float | None = None,
        device: str = "auto",
        batch_size: int = 16,
    ) -> None:
        if (change is not None and not change > 0) or batch_size < 1 or (hop_s is not None and not 0.01 <= hop_s <= 10):
            raise CoPropError(
                f"change is positive, batch_size 1 or more and hop_s 0.01 to 10; got {change}, {batch_size} and {hop_s}."
            )
        if words not in get_args(Words):
            raise unknown_name("words", words, get_args(Words))
        self.kind, self._open = open_ear(
            model, path=path, names=names, hop_s=hop_s, device=device, batch_size=batch_size
        )
        if labels is not None and self.kind not in ("clap", "pe_audio"):
            raise CoPropError(
                f"labels are for CLAP and PE-A-Frame; a model of the kind '{self.kind}' has its own classes."
            )
        self.change = change or (CHANGE_YAMNET if self.kind == YAMNET else CHANGE)
        self.labels, self.words = tuple(labels) if labels is not None else None, words
        self.calls: int = 0
        self._ear: Ear | None = None

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Listen to the clip; of ``base`` only the classes' names are looked at, as queries.

        Raises:
            CoPropError: the model cannot be loaded, or gives no probabilities.
        """
        tags = self.tags(clip, base=base)
        chances, time_base = tags.probabilities, clip.time_base
        starts = change_points(chances, change=self.change, longest=max(2, round(STRETCH_S / self._hop_s)))
        flags = time_base.flags_of_changes(tags.windows_s[starts[1:], 0])
        named = tags if self.words == "own" else tags.in_words(avsbench_table())
        quiet = [label.casefold() == SILENCE for label in tags.labels]
        silent, categories = [], []
        for segment in ControlPoints(flags).segments():
            start_s, stop_s = time_base.sound_window_s[[segment.start, segment.stop - 1], [0, 1]]
            middles_s = tags.windows_s.mean(axis=1)
            inside = (middles_s >= start_s) & (middles_s < stop_s)
            inside[np.abs(middles_s - (start_s + stop_s) / 2).argmin()] = True
            silent.append(bool(quiet[chances[inside].mean(axis=0).argmax()]))
            categories.append(_names(named.probabilities[inside].mean(axis=0), named.labels))
        return ControlPoints(
            flags,
            silent=tuple(silent) if any(quiet) else None,
            categories=tuple(categories),
            origin=Origin(self.name),
        )

    def tags(self, clip: Clip, *, base: Prediction | None = None) -> Tags:
        """What the model hears in the clip: a logit of each class in each window.

        Raises:
            CoPropError: as for a call.
        """
        if self._ear is None:
            self._ear = self._open()
        queries = self.labels or (tuple(base.names.values()) if base is not None and base.names else QUERIES)
        try:
            return self._ear.hear(clip.sound, duration_s=clip.time_base.duration_s, queries=queries)
        except CoPropError as error:
            raise CoPropError(f"clip '{clip.clip_id}': {error}") from error
        finally:
            self.calls = self._ear.calls

    @property
    def _hop_s(self) -> float:
        assert self._ear is not None
        return self._ear.hop_s


def change_points(chances: np.ndarray, *, change: float, longest: int = 1 << 12) -> list[int]:
    """The first rows of the cheapest segments of ``(n, C)`` probabilities; the first is 0.

    A segment costs its rows' squared distances from their mean, taken of square roots: a class that comes at 0.1 counts
    as much as one that goes from 0.5 to 1. More than ``longest`` rows are cut stretch by stretch, each beginning at the
    last change before the end of the one before.
    """
    starts, begin = [0], 0
    while True:
        piece = chances[begin : begin + longest]
        found = [begin + start for start in _cheapest(np.sqrt(piece), change) if start]
        if begin + len(piece) == len(chances):
            return starts + found
        sure = [start for start in found if start <= begin + longest * 3 // 4]
        starts += sure
        begin = sure[-1] if sure and sure[-1] > begin + longest // 4 else begin + longest // 2
        starts = [start for start in starts if start <= begin]


def _cheapest(roots: np.ndarray, change: float) -> list[int]:
    n = len(roots)
    costs = np.full((2, n + 1, n + 1), _NEVER)
    sums = np.concatenate([np.zeros((1, roots.shape[1])), np.cumsum(roots, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum((roots**2).sum(axis=1))])
    for start in range(n):
        length = np.arange(1, n + 1 - start)
        mean_energy = ((sums[start + 1 :] - sums[start]) ** 2).sum(axis=1) / length
        costs[0, start, start + 1 :] = squares[start + 1 :] - squares[start] - mean_energy
    return [start for start, _ in best_segments(costs, np.full(n + 1, change))]


def _names(mean: np.ndarray, labels: Sequence[str]) -> tuple[str, ...]:
    order = np.argsort(-mean, kind="stable")[:MOST_NAMES]
    return tuple(labels[i] for i in order if mean[i] >= NAMED_FROM and labels[i].casefold() != SILENCE)
