"""How probably each object sounds in each frame, given what a base model shows and what the sound says.

A base model's per-object answers ``present (T, C)`` and a clip's control points disagree where the model is late,
early, or wrong, or the control points are. All explanations are weighed together, each by its probability:

* the model errs now and then (at one of several rates), or all through a segment (it knows nothing there);
* the model's onsets and offsets are all shifted by the same number of frames (what the other segments show decides, so
  that even a segment without one right answer can be read);
* an object really starts or stops away from every control point, or none does at one: as probably as the generator's
  confidence says, and as control points of things that are not in the picture go;
* a frame that is heard as silent holds no sounding object, and one that is not holds one;
* where an ear knows what an object sounds like: as probably as it is heard, and then the model may also show an object
  whether it sounds or not, throughout.

The sum over an object's on/off patterns is exact within a window of :data:`.patterns.MAX_UNITS` stretches; objects meet in the
control points and in the frames that one of them must fill, by belief propagation. Longer clips are read in
overlapping windows under common shifts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import logsumexp

from .beliefs import ERROR_RATES, FITTED, Beliefs
from .patterns import shifted_patterns, unit_bounds, unit_patterns, windows_of

MAX_PATTERNS = 128  # the likeliest of each object's are looked at together with those of the others
MAX_SHIFTS = 5  # candidates for the onset's and for the offset's shift
NEGLIGIBLE = 9.0  # nats under the likeliest shift
SWEEPS = 3  # of belief propagation
SURE_FRAMES = 2.0  # a silent segment says as much as so many of its frames: they are not independent
DEAF_ERROR = 0.03  # how often a model that shows an object throughout does not
STUBBORN_ERROR = 0.9  # how often a model errs in a segment of which it knows nothing


@dataclass(frozen=True)
class Reading:
    """What is believed.

    Attributes:
        sounding: ``(T, C)`` probability that object c sounds in frame t.
        onset_shift, offset_shift: by how many frames the base model most probably is late (negative: early).
        shift_probability: of that pair.
        error_rate: how often the base model errs beyond that, expected.
    """

    sounding: np.ndarray
    onset_shift: int
    offset_shift: int
    shift_probability: float
    error_rate: float = 0.0


@dataclass(frozen=True)
class Heard:
    """What the sound says of each frame, ``(T,)`` each.

    Attributes:
        flags: control points, the first true.
        change: probability that what sounds changes at the frame's beginning.
        silence: probability that nothing sounds; NaN where nothing is known.
        ratio: ``(T, C)`` log likelihood ratio of each object's sounding; 0 where nothing is known.
        by_ear: ``(C,) bool``, of which objects an ear says it; by default of all with a ratio.
        may_be_late: whether all control points may come some frames late together: then a model that seems early in all
            it does is taken to be right.
    """

    flags: np.ndarray
    change: np.ndarray
    silence: np.ndarray
    ratio: np.ndarray | None = None
    by_ear: np.ndarray | None = None
    may_be_late: bool = False

    def earlier(self, frames: int) -> Heard:
        """The same with every control point so many frames earlier."""
        flags, change = self.flags.copy(), self.change.copy()
        flags[1:], change[1:] = False, self.change[1:].min(initial=1.0)
        flags[1:-frames], change[1:-frames] = self.flags[1 + frames :], self.change[1 + frames :]
        return replace(self, flags=flags, change=change)


def read_states(present: np.ndarray, heard: Heard, *, max_shift_frames: int = 3, beliefs: Beliefs = FITTED) -> Reading:
    """The probabilities that objects sound.

    Args:
        present: ``(T, C) bool``, the base model shows object c in frame t.
        heard: what the sound says.
        max_shift_frames: largest lateness or earliness considered.
        beliefs: what is held beforehand.
    """
    if present.shape[1] == 0:
        return Reading(np.zeros(present.shape), 0, 0, 1.0)
    windows = list(windows_of(unit_bounds(present, heard.flags)))
    shifts = _candidate_shifts(present, heard.flags, max_shift_frames)
    under = [_taken(shift, heard) for shift in shifts]
    logs = [[_alone(present, told, bounds, by, beliefs) for bounds, _ in windows] for by, told in under]
    priors = np.log(beliefs.error_rates) - np.array([[_shift_cost(shift, beliefs)] for shift in shifts])
    # Objects on their own say roughly how probable a shift is: what is out of the question is not looked at together.
    rough = logsumexp(priors + [sum(_evidence(log).sum(axis=1) for log in of) for of in logs], axis=1)
    kept = np.flatnonzero(rough >= rough.max() - NEGLIGIBLE)
    weights, sounding = priors[kept], np.zeros((len(kept), len(ERROR_RATES), *present.shape))
    for i, k in enumerate(kept):
        for log, (bounds, (start, stop)) in zip(logs[k], windows, strict=True):
            states, evidence = _read_window(log, under[k][1], bounds, beliefs)
            sounding[i, :, start:stop] = states[:, start - bounds[0] : stop - bounds[0]]
            weights[i] += evidence
    shares = np.exp(weights - logsumexp(weights))
    total = np.einsum("se,setc->tc", shares, sounding)
    best = int(shares.sum(axis=1).argmax())
    onset, offset = under[kept[best]][0]
    return Reading(
        scaled(total, beliefs.trust),
        onset,
        offset,
        float(shares[best].sum()),
        float(shares.sum(axis=0) @ ERROR_RATES),
    )


def _taken(shift: tuple[int, int], heard: Heard) -> tuple[tuple[int, int], Heard]:
    """A shift of the model, or of the control points, as what it is taken."""
    onset, offset = shift
    if heard.may_be_late and onset == offset < 0:
        return (0, 0), heard.earlier(-onset)
    return shift, heard


def scaled(probability: np.ndarray, by: float) -> np.ndarray:
    """The probabilities with their log odds scaled."""
    odds = np.log(probability.clip(1e-9, 1)) - np.log((1 - probability).clip(1e-9, 1))
    return 1 / (1 + np.exp(-by * odds))


def _shift_cost(shift: tuple[int, int], beliefs: Beliefs) -> float:
    return (beliefs.shift if any(shift) else 0.0) + beliefs.shift_frame * (abs(shift[0]) + abs(shift[1]))


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


def _odds(heard: Heard, bounds: tuple[int, ...], beliefs: Beliefs) -> np.ndarray:
    """``(U - 1,)`` log odds that something changes at each inner bound."""
    change = scaled(heard.change[list(bounds[1:-1])], beliefs.hearing)
    change = np.clip(change * beliefs.seen, beliefs.missed, 0.99)
    return np.asarray(np.log(change) - np.log1p(-change))


def _alone(
    present: np.ndarray, heard: Heard, bounds: tuple[int, ...], shift: tuple[int, int], beliefs: Beliefs
) -> np.ndarray:
    """``(E, P, C)`` log weight of each pattern in a window under one shift, each object on its own."""
    first, last = bounds[0], bounds[-1]
    starts = tuple(bound - first for bound in bounds)
    patterns, changes = unit_patterns(len(starts) - 1)
    own = changes @ np.minimum(_odds(heard, bounds, beliefs), 0) - patterns @ _silence(heard, bounds, beliefs)[0]
    shown = shifted_patterns(starts, *shift)
    answers = _likelihood(present[first:last], heard.flags[first:last], shown, beliefs)
    if heard.ratio is None:
        return answers + own[:, None]
    ratio, deaf = _by_ear(present, heard, bounds, beliefs)
    by_ear = ratio.any(axis=0) if heard.by_ear is None else heard.by_ear
    known = np.where(by_ear, np.logaddexp(answers + np.log1p(-beliefs.deaf), deaf + np.log(beliefs.deaf)), answers)
    return np.asarray(known + own[:, None] + patterns @ ratio)


def _by_ear(
    present: np.ndarray, heard: Heard, bounds: tuple[int, ...], beliefs: Beliefs
) -> tuple[np.ndarray, np.ndarray]:
    """``(U, C)`` nats that an ear gives to an object's sounding in each unit, and ``(C,)`` log probability of a model's
    answers that shows the object wherever anything sounds."""
    assert heard.ratio is not None
    segment = np.cumsum(heard.flags) - 1
    share = np.minimum(1, SURE_FRAMES / np.bincount(segment)[segment])[:, None]
    told = (beliefs.ear * heard.ratio * share)[: bounds[-1]]
    inside = slice(bounds[0], bounds[-1])
    expected = ~(np.nan_to_num(heard.silence[inside]) > 0.5)[:, None]
    right = (present[inside] == expected).sum(axis=0)
    wrong = bounds[-1] - bounds[0] - right
    deaf = right * np.log1p(-DEAF_ERROR) + wrong * np.log(DEAF_ERROR)
    return np.add.reduceat(told, np.array(bounds[:-1]), axis=0), deaf


def _likelihood(seen: np.ndarray, flags: np.ndarray, shown: np.ndarray, beliefs: Beliefs) -> np.ndarray:
    """``(E, P, C)`` log probability of the model's answers ``seen (T, C)``, had it meant to show ``shown (P, T)``."""
    segment = np.cumsum(flags) - flags[0]
    of = (segment[:, None] == np.arange(segment[-1] + 1)).astype(np.float32)  # (T, S)
    lengths = of.sum(axis=0).astype(int)
    both = shown @ (of[:, :, None] * seen[:, None]).reshape(len(seen), -1)
    wrong = (shown @ of)[:, :, None] + of.T @ seen - 2 * both.reshape(len(shown), len(lengths), -1)
    wrong = wrong.round().astype(int)  # (P, S, C)
    return np.asarray(sum(_chances(n, beliefs)[:, wrong[:, s]] for s, n in enumerate(lengths.tolist())))


@lru_cache(maxsize=4096)
def _chances(length: int, beliefs: Beliefs) -> np.ndarray:
    """``(E, length + 1)`` log probability of each number of wrong answers in a segment, in any one order."""
    wrong = np.arange(length + 1)

    def chance(rate: np.ndarray | float) -> np.ndarray:
        return np.asarray(wrong * np.log(rate) + (length - wrong) * np.log1p(-np.asarray(rate)))

    usual = np.log1p(-beliefs.stubborn) + chance(ERROR_RATES[:, None])
    return np.logaddexp(usual, np.log(beliefs.stubborn) + chance(STUBBORN_ERROR)).astype(np.float32)


def _read_window(
    logs: np.ndarray, heard: Heard, bounds: tuple[int, ...], beliefs: Beliefs
) -> tuple[np.ndarray, np.ndarray]:
    """``(E, T_w, C)`` probabilities of one window under one shift at each error rate, and ``(E,)`` log evidence."""
    patterns, changes = unit_patterns(len(bounds) - 1)
    likely = np.sort(np.argsort(-logs.max(axis=0), axis=0)[:MAX_PATTERNS], axis=0).T  # (C, K)
    logs = np.take_along_axis(logs, likely.T[None], axis=1).transpose(0, 2, 1)
    wanted = np.maximum(_odds(heard, bounds, beliefs), 0), _silence(heard, bounds, beliefs)[1]
    does = np.concatenate([changes[likely], patterns[likely]], axis=2)  # (C, K, N)
    chances, evidence = _jointly(logs, does, np.concatenate(wanted))
    on = np.einsum("eck,cku->euc", chances, patterns[likely])
    return np.repeat(on, np.diff(bounds), axis=1), evidence


def _silence(heard: Heard, bounds: tuple[int, ...], beliefs: Beliefs) -> tuple[np.ndarray, np.ndarray]:
    """``(U,)`` nats that an object pays for sounding in each unit, and that all pay together where none does."""
    known = ~np.isnan(heard.silence)
    silence = np.where(known, heard.silence, 0).clip(0, beliefs.surest_silence)
    segment = np.cumsum(heard.flags) - 1
    share = np.minimum(1, SURE_FRAMES / np.bincount(segment)[segment])
    quiet = -np.log1p(-silence) * share
    loud = np.where(known, 1 - silence, 0) * beliefs.unseen_source
    cuts = np.array(bounds[:-1])
    return np.add.reduceat(quiet[: bounds[-1]], cuts), np.add.reduceat(loud[: bounds[-1]], cuts)


def _jointly(logs: np.ndarray, does: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patterns' probabilities where at least one object should do certain things.

    Args:
        logs: ``(E, C, K)`` log weight of each object's patterns.
        does: ``(C, K, N)``, 1 where the pattern does thing n (changes at a point, sounds in a unit).
        wanted: ``(N,)`` nats lost where no object does it.

    Returns:
        ``(E, C, K)`` probabilities, and ``(E,)`` log evidence (Bethe's; exact for one object).
    """
    does, lost = does[..., wanted > 0], 1 - np.exp(-wanted[wanted > 0])
    messages = np.zeros((len(logs), len(does), len(lost)))  # for patterns that do not
    for _ in range(SWEEPS):
        total = logs + ((1 - does) @ messages[..., None])[..., 0]
        evidence = _evidence(total.transpose(0, 2, 1))
        chances = np.exp(total - evidence[..., None])
        idle = np.log1p(-(chances[..., None, :] @ does)[..., 0, :].clip(0, 1 - 1e-9))
        messages = np.log1p(-lost * np.exp(idle.sum(axis=1, keepdims=True) - idle))
    common = np.log1p(-lost * np.exp(idle.sum(axis=1))).sum(axis=1)
    return chances, evidence.sum(axis=1) - (len(does) - 1) * common


def _evidence(logs: np.ndarray) -> np.ndarray:
    """``(E, C)`` log of the sum over the patterns of ``(E, P, C)``."""
    most = logs.max(axis=1, keepdims=True)
    return np.asarray(most[:, 0] + np.log(np.exp(logs - most).sum(axis=1)))
