"""Control points by penalised change-point detection on log-mel features, with a state for silence."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..audio.level import level_of
from ..audio.log_mel import HOPS_PER_S, log_mel
from ..parts import part
from ..structures import Clip, ControlPoints, Origin, Prediction, Sound, TimeBase
from .base import ControlPointGenerator
from .cells import CELLS_PER_S, listen
from .segmentation import SILENT, Prices, best_segments, change_probabilities, segment_costs
from .silence import with_silence

# These two calibrate the confidence, on what the prices were tuned on: without the caution, a change that could lie at
# any of ten cells of a window would seem ten times as likely as one that could lie at one.
TEMPERATURE, CAUTION = 3.0, 3.5
STRETCH_CELLS = 60 * CELLS_PER_S  # longer sounds are heard in overlapping stretches: cost grows with their square
SAME_CHANGE_S = 0.25  # how far apart two hypotheses of one change may lie, for its confidence


@part("control_points", "changepoint", takes=("control_points.segmentation:Prices",), example="change=8")
class ChangePoint(ControlPointGenerator):
    """Where the timbre of the sound changes, or silence begins or ends.

    The cheapest segmentation of the whole sound, exact up to a minute;
    :class:`~coprop_plugin.control_points.segmentation.Prices` says what is paid. Short pauses of a source are bridged.
    Fills ``silent``, ``confidence`` and ``silence`` (calibrated probabilities).

    Args:
        prices: those that shall differ from the tuned ones, by name.
    """

    def __init__(self, **prices: float) -> None:
        self.prices = Prices(**prices)  # type: ignore[arg-type]

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Listen to the clip; ``base`` is not looked at."""
        heard = hear(clip.sound, clip.time_base, self.prices)
        changes = np.flatnonzero(heard.change)
        times_s = changes / CELLS_PER_S
        if clip.time_base.duration_s / clip.num_frames < 2 / CELLS_PER_S:
            times_s = np.array([refined_s(clip.sound, int(cell)) for cell in changes])
        points = on_frames(clip.time_base, heard, times_s)
        return with_silence(points, clip)


class Heard(NamedTuple):
    """Of each of ``n`` cells, ``(n,)`` each: its state, whether it starts with a change, and how probably it does."""

    state: np.ndarray
    change: np.ndarray
    probability: np.ndarray


def hear(sound: Sound, time_base: TimeBase, prices: Prices) -> Heard:
    """Segment the sound under the windows of a time base, stretch by stretch where it is long."""
    total = max(1, int(np.ceil(time_base.duration_s * CELLS_PER_S - 1e-6)))
    cut = cut_prices(time_base, total, prices)
    gain_db = level_of(sound).gain_db
    heard = Heard(np.zeros(total, int), np.zeros(total, bool), np.zeros(total))
    start = 0
    while start < total:
        stop = min(start + STRETCH_CELLS, total)
        costs = segment_costs(listen(sound, start=start, stop=stop, gain_db=gain_db), prices)
        segments = best_segments(costs, cut[start : stop + 1])
        probability = change_probabilities(costs, cut[start : stop + 1] + CAUTION, temperature=TEMPERATURE)
        inside = slice(start + 1, stop)
        heard.probability[inside] = probability[1:-1]
        if start and not heard.change[start]:  # the segment before goes on, unless silence is heard differently now
            heard.change[start] = segments[0][1] != heard.state[start - 1]
        heard.change[inside] = False
        for first, state in segments:
            heard.change[start + first] |= first > 0
            heard.state[start + first : stop] = state
        start = total if stop == total else start + _seam([first for first, _ in segments])
    return heard


def _seam(starts: list[int]) -> int:
    """Where the next stretch begins: at the last change that has enough sound after it, else half way."""
    half = STRETCH_CELLS // 2
    return max((first for first in starts if half <= first <= half * 3 // 2), default=half)


def cut_prices(time_base: TimeBase, total: int, prices: Prices) -> np.ndarray:
    """``(total + 1,)``: what a change at the start of each cell costs."""
    times_s = np.arange(total + 1) / CELLS_PER_S
    edges_s = np.unique(time_base.sound_window_s)
    after = np.clip(np.searchsorted(edges_s, times_s), 1, len(edges_s) - 1)
    distance_s = np.minimum(np.abs(times_s - edges_s[after - 1]), np.abs(edges_s[after] - times_s))
    return prices.change + prices.off_edge * np.minimum(2 * distance_s, 1)


def refined_s(sound: Sound, cell: int) -> float:
    """The second at which the change at a cell's start happens, to one hop.

    Hops within a cell of it belong to what sounds before or after, whichever side's mean spectrum of 0.3 s is nearer
    in sum.
    """
    near = HOPS_PER_S // CELLS_PER_S
    first = cell * near - 4 * near
    decibels = log_mel(sound, start=first, stop=first + 8 * near)
    inner = decibels[3 * near : 5 * near]
    before, after = (
        np.abs(inner - side.mean(axis=0)).mean(axis=1) for side in (decibels[: 3 * near], decibels[5 * near :])
    )
    costs = np.cumsum(np.append(0, before - after))
    return max(0.0, (first + 3 * near + int(costs.argmin())) / HOPS_PER_S)


def on_frames(time_base: TimeBase, heard: Heard, times_s: np.ndarray) -> ControlPoints:
    """Changes at these seconds, and what was heard cell by cell, mapped to frames once."""
    flags = time_base.flags_of_changes(times_s)
    silent = _silent_segments(time_base, flags, heard.state)
    # A sound that began and ended within one frame leaves two silent segments side by side: they are one.
    stays = [i == 0 or not (silent[i] and silent[i - 1]) for i in range(len(silent))]
    flags[flags] = stays
    return ControlPoints(
        flags=flags,
        confidence=_confidence(time_base, flags, heard.probability),
        silent=tuple(s for s, stay in zip(silent, stays, strict=True) if stay),
        origin=Origin(ChangePoint.name),
    )


def _silent_segments(time_base: TimeBase, flags: np.ndarray, state: np.ndarray) -> list[bool]:
    """Whether most of each segment's sound is silence."""
    edges_s = np.append(time_base.sound_window_s[flags, 0], time_base.duration_s)
    cells = np.round(edges_s * CELLS_PER_S).astype(int)
    pieces = [state[min(a, len(state) - 1) : max(a + 1, b)] for a, b in pairwise(cells)]
    return [bool((piece == SILENT).mean() > 0.5) for piece in pieces]


def _confidence(time_base: TimeBase, flags: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """``(T,)``: how probably each frame starts with a change where it is flagged, or does not where it is not."""
    middles_s = time_base.sound_window_s.mean(axis=1)
    frame = np.searchsorted(middles_s, np.arange(len(probability)) / CELLS_PER_S - 1e-9)
    changed = np.bincount(frame, probability, minlength=len(flags))[: len(flags)]
    around = np.append(0, np.cumsum(changed))
    first = np.searchsorted(middles_s, middles_s - SAME_CHANGE_S, side="left")
    stop = np.searchsorted(middles_s, middles_s + SAME_CHANGE_S, side="right")
    confidence = np.where(flags, around[stop] - around[first], 1 - changed).clip(0, 1)
    confidence[0] = 1
    return confidence
