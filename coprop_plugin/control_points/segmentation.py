"""Cut cells into segments that each hold one mixture of sources, or silence: exact, by dynamic programming.

The cost of a segmentation is the sum of its segments' costs and of a price a change. The same recursion with ``min``
finds the best segmentation and with a soft minimum sums over all of them, which gives every change a probability
(forward and backward passes of a semi-Markov model).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from ..errors import CoPropError
from .cells import CELLS_PER_S, NUM_CEPSTRA, Cells

SOUNDING, SILENT = 0, 1
_NEVER = 1e9  # finite, so that differences of it stay numbers

# Variance of the cepstra within one source (speech, engines, animals, tools), dB^2: a power law. Entry 0, the level, is
# taken wider, since a source does not become another one when it gets louder.
USUAL_VARIANCE = 30.0 * np.arange(1, NUM_CEPSTRA + 1) ** -1.25
USUAL_VARIANCE[0] *= 1.6
# Of the usual one, on top of a segment's own: else, after half a minute of a steady tone, one odd cell is an event.
LEAST_VARIANCE = 0.05


@dataclass(frozen=True)
class Prices:
    """What a segmentation pays, in nats.

    Tuned by random search for F1 on synthetic clips of seeds 0 to 39 (``moc``, ``ms3``, ``avss`` and ``s4``, onsets on
    the grid and free) and on random mixtures of short public recordings (those of ``tests/data/real_audio_events.json``
    among them), with a penalty for changes inside one source.

    Attributes:
        change: a change of what sounds.
        off_edge: on top of it, a change half a second or more from the nearest edge of a sound window (linear in
            between): labels hold for whole windows.
        gap_a_s: plain silence inside a sounding segment.
        stray_a_s: plain sound inside a silent segment.
        evidence: weight of one cell's timbre; under 1, because neighbouring cells say partly the same.
        prior_cells: how many cells a source's usual variance counts for where a segment's own is estimated.
        min_cells: no sounding segment is shorter; more than half a second, so that on windows of one second a segment
            that begins or ends at an edge holds a midpoint.
        min_silent_cells: no silent segment is shorter: pauses between barks, revs and breaths are bridged.
    """

    change: float = 6.5
    off_edge: float = 5.0
    gap_a_s: float = 55.0
    stray_a_s: float = 250.0
    evidence: float = 0.6
    prior_cells: float = 8.0
    min_cells: int = 6
    min_silent_cells: int = 7

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not np.isfinite(value) or value < 0 or (value == 0 and item.name != "off_edge"):
                raise CoPropError(f"the price '{item.name}' must be positive, got {value}.")


def segment_costs(cells: Cells, prices: Prices) -> np.ndarray:
    """``(2, n + 1, n + 1)``: what ``[s, t)`` costs as a sounding (0) or silent (1) segment; ``_NEVER`` where too short.

    A sounding segment is Gaussian with its own mean and diagonal variance, the variance drawn towards
    ``USUAL_VARIANCE``; only its active cells count.
    """
    n = len(cells)
    active = cells.active.astype(float)
    number = np.maximum(_sums_between(active), 0)
    spread = np.zeros_like(number)
    for entry in (cells.timbre / np.sqrt(USUAL_VARIANCE)).T:
        scatter = _sums_between(active * entry**2) - _sums_between(active * entry) ** 2 / np.maximum(number, 1)
        variance = (np.maximum(scatter, 0) + prices.prior_cells) / (number + prices.prior_cells)
        spread += np.log(variance + LEAST_VARIANCE)
    length = np.arange(n + 1) - np.arange(n + 1)[:, None]
    sounding = 0.5 * prices.evidence * (number + prices.prior_cells) * spread
    gaps, strays = (np.maximum(_sums_between(cells.plain * on), 0) / CELLS_PER_S for on in (1 - active, active))
    costs = np.stack([sounding + prices.gap_a_s * gaps, prices.stray_a_s * strays])
    for state, shortest in ((SOUNDING, prices.min_cells), (SILENT, prices.min_silent_cells)):
        costs[state, length < min(shortest, n)] = _NEVER
    return costs


def best_segments(costs: np.ndarray, cut: np.ndarray) -> list[tuple[int, int]]:
    """``[(start, state), …]`` of the cheapest segmentation.

    Args:
        costs: as :func:`segment_costs` gives them.
        cut: ``(n + 1,)`` what a change at each cell costs.
    """
    arrivals, ends = _pass(costs, cut, np.min)
    segments: list[tuple[int, int]] = []
    stop, state = len(cut) - 1, int(ends[:, -1].argmin())
    while stop > 0:
        start = int((arrivals[state, :stop] + costs[state, :stop, stop]).argmin())
        segments.append((start, state))
        state = SOUNDING if state == SILENT else int(ends[:, start].argmin())
        stop = start
    return segments[::-1]


def change_probabilities(costs: np.ndarray, cut: np.ndarray, *, temperature: float) -> np.ndarray:
    """``(n + 1,)``: the share of all segmentations, weighted by ``exp(-cost / temperature)``, with a change at each cell."""

    def soft_min(values: np.ndarray, axis: int) -> np.ndarray:
        least = np.minimum(values.min(axis), _NEVER)
        return least - temperature * np.log(np.exp((np.expand_dims(least, axis) - values) / temperature).sum(axis))

    # Seen from the end, the same sound: no state is followed by one that it may not follow.
    both_ways = np.stack([costs, costs[:, ::-1, ::-1].transpose(0, 2, 1)]), np.stack([cut, cut[::-1]])
    (arrivals, _), (ends, starts) = _pass(*both_ways, soft_min)
    through = arrivals + starts[:, ::-1]
    shares = np.exp((soft_min(ends[:, -1], 0) - through) / temperature).sum(axis=0)
    shares[[0, -1]] = 0  # the first and the last cell's edges are no changes
    return np.minimum(shares, 1)


def _pass(costs: np.ndarray, cut: np.ndarray, reduce: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What ``[0, t)`` costs, ``(…, 2, n + 1)`` each: before a segment of a state starts at t, and after one ended there.

    A silent segment never follows a silent one. Leading axes of ``costs (…, 2, n + 1, n + 1)`` and ``cut (…, n + 1)``
    are worked on together.
    """
    arrivals, ends = np.full((2, *costs.shape[:-1]), _NEVER)
    arrivals[..., 0] = 0
    for t in range(1, cut.shape[-1]):
        ends[..., t] = reduce(arrivals[..., :t] + costs[..., :t, t], axis=-1)
        arrivals[..., SOUNDING, t] = cut[..., t] + reduce(ends[..., t], axis=-1)
        arrivals[..., SILENT, t] = cut[..., t] + ends[..., SOUNDING, t]
    return arrivals, ends


def _sums_between(values: np.ndarray) -> np.ndarray:
    """``(n + 1, n + 1)``: the sum of ``values[s:t]``."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return sums - sums[:, None]
