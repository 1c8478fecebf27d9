"""Which objects sound in which frame: the reading of a base model's answers that explains them best.

A base model's per-object answers ``present (T, C)`` and a clip's control points disagree where the model is late,
early, or wrong. Three explanations compete, each with a cost in units of one wrong answer of the model:

* the model is wrong in this frame (cost 1);
* the model's onsets and offsets are all shifted by the same number of frames (one price for the whole clip:
  what the other segments show decides, so that even a segment without one right answer can be read);
* an object really starts or stops away from every control point, or none does at one (the control points err).

The cheapest reading wins. It is exact within a window of :data:`MAX_UNITS` stretches; longer clips are read in
overlapping windows under one common shift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from ..errors import CoPropError, unknown_name

MAX_UNITS = 10  # 2**10 on/off patterns an object are tried in a window
OVERLAP_UNITS = 4
MAX_SHIFTS = 7  # candidates for the onset's and for the offset's shift


@dataclass(frozen=True)
class Costs:
    """Prices of the explanations, in wrong answers of the base model; fitted on synthetic clips, seeds 0 to 39."""

    change_elsewhere: float = 1.45  # an object starts or stops where no control point is
    no_change: float = 0.15  # no object does at a control point (times its confidence)
    shift: float = 2.2  # the model is late or early at all
    shift_frame: float = 0.07  # and for each frame of it
    sounding_in_silence: float = 1.6  # a frame that the sound calls silent holds a sounding object

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int | float) or not np.isfinite(value) or value < 0:
                raise CoPropError(f"the price '{item.name}' is a number from 0 on, got {value!r}.")

    @classmethod
    def named(cls, prices: Mapping[str, float]) -> Costs:
        """The fitted prices, some of them set anew.

        Raises:
            CoPropError: a price that there is not.
        """
        known = [item.name for item in fields(cls)]
        for name in prices:
            if name not in known:
                raise unknown_name("price of consensus", name, known)
        return cls(**prices)

    def scaled(self, factor: float) -> Costs:
        """All prices but those of the shift, times a factor."""
        return replace(
            self,
            change_elsewhere=self.change_elsewhere * factor,
            no_change=self.no_change * factor,
            sounding_in_silence=self.sounding_in_silence * factor,
        )


FITTED = Costs()


@dataclass(frozen=True)
class Reading:
    """What was decided.

    Attributes:
        sounding: ``(T, C) bool``.
        onset_shift, offset_shift: by how many frames the base model is late (negative: early).
        cost: of this reading, in wrong answers.
    """

    sounding: np.ndarray
    onset_shift: int
    offset_shift: int
    cost: float
    error_rate: float = 0.0


def read_states(
    present: np.ndarray,
    flags: np.ndarray,
    *,
    confidence: np.ndarray | None = None,
    silent: np.ndarray | None = None,
    max_shift_frames: int = 3,
    costs: Costs | None = None,
) -> Reading:
    """The cheapest reading of a base model's answers.

    Args:
        present: ``(T, C) bool``, the base model shows object c in frame t.
        flags: ``(T,) bool`` control points, the first true.
        confidence: ``(T,)`` in [0, 1], trust in the control points; 1 where not given.
        silent: ``(T,) bool``, frames in which the sound is known to be silent.
        max_shift_frames: largest lateness or earliness considered.
        costs: the prices; the fitted ones where not given.
    """
    costs = costs or FITTED
    num_frames, num_objects = present.shape
    if num_objects == 0:
        return Reading(present.copy(), 0, 0, 0.0)
    trust = np.ones(num_frames) if confidence is None else np.asarray(confidence, float)
    quiet = np.zeros(num_frames, bool) if silent is None else np.asarray(silent, bool)
    windows = list(_windows(_unit_bounds(present, flags)))

    def read(shift: tuple[int, int], structure: float) -> Reading:
        sounding, wrong, price = np.zeros_like(present), 0.0, _shift_cost(shift, costs)
        for bounds, (start, stop) in windows:
            states, errors, cost = _read_window(present, flags, trust, quiet, bounds, shift, costs.scaled(structure))
            sounding[start:stop] = states[start - bounds[0] : stop - bounds[0]]
            wrong, price = wrong + errors, price + (cost - errors) / structure
        return Reading(sounding, *shift, price + _surprise(wrong, present.size), wrong / present.size)

    best: Reading | None = None
    for shift in sorted(_candidate_shifts(present, flags, max_shift_frames), key=lambda s: _shift_cost(s, costs)):
        if best is not None and _shift_cost(shift, costs) >= best.cost:
            break
        reading = read(shift, 1.0)
        if best is None or reading.cost < best.cost - 1e-9:
            best = reading
    assert best is not None
    # A model that errs often is believed less: what the control points say weighs more against it.
    return read((best.onset_shift, best.offset_shift), 1 / _weight(best.error_rate, present.size))


def _weight(error_rate: float, answers: int) -> float:
    """What one wrong answer of a model with this error rate is worth; 1 at one in ten."""
    rate = np.clip((error_rate * answers + 0.5) / (answers + 1), 0.05, 0.4)
    return float(np.log((1 - rate) / rate) / np.log(9))


def _surprise(wrong: float, answers: int) -> float:
    """The cost of so many wrong answers: their binary entropy, in units of one error at one in ten."""
    rate = np.clip(wrong / answers, 1e-12, 0.5)
    return float(answers * -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) / np.log(9))


def _shift_cost(shift: tuple[int, int], costs: Costs) -> float:
    return (costs.shift if any(shift) else 0.0) + costs.shift_frame * (abs(shift[0]) + abs(shift[1]))


def _candidate_shifts(present: np.ndarray, flags: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Pairs of onset and offset shifts seen between the model's changes and the control points, (0, 0) first."""
    points = np.flatnonzero(flags)[1:]
    before, after = present[:-1], present[1:]
    candidates = []
    for changed in (after & ~before, before & ~after):
        seen = Counter(
            int(t + 1 - point)
            for t in np.flatnonzero(changed.any(axis=1))
            for point in points[np.abs(points - (t + 1)) <= limit]
        )
        seen.pop(0, None)
        candidates.append([0, *(shift for shift, _ in seen.most_common(MAX_SHIFTS - 1))])
    return [(onset, offset) for onset in candidates[0] for offset in candidates[1]]


def _unit_bounds(present: np.ndarray, flags: np.ndarray) -> list[int]:
    """Frames at which a state may change: all of them in a short clip, else where something was seen to happen."""
    if len(present) <= MAX_UNITS:
        return list(range(len(present) + 1))
    moved = flags.copy()
    moved[1:] |= (present[1:] != present[:-1]).any(axis=1)
    return [*np.flatnonzero(moved).tolist(), len(present)]


def _windows(bounds: list[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
    """Windows of units with the frames that each decides: ``(unit bounds, (start, stop))``."""
    units = len(bounds) - 1
    step = MAX_UNITS - OVERLAP_UNITS
    first = 0
    while True:
        last = min(first + MAX_UNITS, units)
        start = bounds[first if first == 0 else first + OVERLAP_UNITS // 2]
        stop = bounds[last if last == units else last - OVERLAP_UNITS // 2]
        yield tuple(bounds[first : last + 1]), (start, stop)
        if last == units:
            return
        first += step


def _read_window(
    present: np.ndarray,
    flags: np.ndarray,
    trust: np.ndarray,
    quiet: np.ndarray,
    bounds: tuple[int, ...],
    shift: tuple[int, int],
    costs: Costs,
) -> tuple[np.ndarray, float, float]:
    """``(T_w, C) bool`` states of one window under one shift, the answers then wrong, and the whole cost."""
    first, last = bounds[0], bounds[-1]
    starts = tuple(bound - first for bound in bounds)
    lengths = np.diff(starts)
    patterns = unit_patterns(len(lengths))
    # What the model would show if the pattern were true, against what it did show.
    shown, seen = shifted_patterns(starts, *shift), present[first:last].astype(np.float32)
    wrong = shown.sum(axis=1, keepdims=True) + seen.sum(axis=0) - 2 * shown @ seen
    quiet_frames = np.add.reduceat(quiet[first:last].astype(float), starts[:-1])
    cost = wrong + costs.sounding_in_silence * (patterns @ quiet_frames)[:, None]
    changes = patterns[:, 1:] != patterns[:, :-1]
    inner = np.array(bounds[1:-1], int)
    points = flags[inner]
    cost += costs.change_elsewhere * (changes[:, ~points] @ trust[inner[~points]])[:, None]
    chosen, total = _jointly(cost, changes[:, points], costs.no_change * trust[inner[points]])
    errors = float(wrong[chosen, np.arange(len(chosen))].sum())
    return np.repeat(patterns[chosen].T, lengths, axis=0), errors, total


def _jointly(wrong: np.ndarray, moved: np.ndarray, no_change: np.ndarray) -> tuple[np.ndarray, float]:
    """One pattern an object, so that the sum of their costs and of control points where nothing moves is least.

    Args:
        wrong: ``(P, C)`` cost of each pattern for each object.
        moved: ``(P, N) bool``, the pattern changes at control point n.
        no_change: ``(N,)`` cost of a control point at which no object changes.
    """
    weights = 1 << np.arange(moved.shape[1])
    codes = moved @ weights  # which control points a pattern accounts for
    slack = no_change.sum()
    covered, price, chosen = np.zeros(1, int), np.zeros(1), np.zeros((1, 0), int)
    for c in range(wrong.shape[1]):
        options = _cheapest(codes, wrong[:, c], slack)
        keys = (covered[:, None] | codes[options]).ravel()
        totals = (price[:, None] + wrong[options, c]).ravel()
        best = _cheapest(keys, totals, slack)
        path, option = np.divmod(best, len(options))
        covered, price = keys[best], totals[best]
        chosen = np.column_stack([chosen[path], options[option]])
    missed = (covered[:, None] & weights) == 0
    full = price + missed @ no_change
    least = int(full.argmin())
    return chosen[least], float(full[least])


def _cheapest(keys: np.ndarray, prices: np.ndarray, slack: float) -> np.ndarray:
    """Indices of the cheapest entry of each key, those beyond the least price plus ``slack`` left out."""
    order = np.argsort(prices, kind="stable")
    order = order[prices[order] <= prices[order[0]] + slack + 1e-9]
    return order[np.unique(keys[order], return_index=True)[1]]


@lru_cache(maxsize=16)
def unit_patterns(units: int) -> np.ndarray:
    """``(2**units, units) bool``: every on/off pattern."""
    return (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(bool)


@lru_cache(maxsize=128)
def shifted_patterns(starts: tuple[int, ...], onset: int, offset: int) -> np.ndarray:
    """``(P, T) float32``: every pattern as a model shows it whose onsets and offsets come late (negative: early).

    ``starts`` are the unit bounds; before the first and after the last frame states go on as they are.
    """
    states = np.repeat(unit_patterns(len(starts) - 1), np.diff(starts), axis=1)
    num_frames = states.shape[1]

    def later(frames: int) -> np.ndarray:
        return states[:, np.clip(np.arange(num_frames) - frames, 0, num_frames - 1)]

    shown = later(onset)
    for frames in range(min(onset, offset), max(onset, offset) + 1):
        # Offsets after onsets lengthen every interval, before them they shorten it.
        shown = shown | later(frames) if offset > onset else shown & later(frames)
    return shown.astype(np.float32)
