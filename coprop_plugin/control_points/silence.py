"""How probably nothing sounds, judged against the recording's own source and floor."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np

from ..audio.level import level_of
from ..audio.log_mel import HOPS_PER_S, log_mel
from ..structures import Clip, ControlPoints, Sound, TimeBase
from .cells import CELLS_PER_S

STRETCH_CELLS = 60 * CELLS_PER_S  # a longer recording is judged minute by minute
LOUDEST_CELLS, FLOOR_SHARE = 2, 0.05
MAX_RANGE_DB = 40.0
MAX_LOGIT = 15.0


@dataclass(frozen=True)
class Weights:
    """Of a logistic regression on what is heard in a frame's window.

    Fitted on 320 mixtures of the training part of the library of real objects (sounds, speakers and noises of that part
    alone, seeds 5000 to 5159, kinds moc and ms3) and 90 synthetic clips with drawn timbres (seeds 0 to 89). On 120
    mixtures of its validation part, of the frames with more than 0.9 a share of 0.93 are silent; of those that
    ``changepoint`` calls silent, 0.85.

    Attributes:
        bias: log odds of a frame as loud as the source, on the floor, called sounding, in a recording without range.
        below_source: for each 10 dB below the loudest cells.
        above_floor: for the logarithm of 1 and the dB above the quietest cells.
        called_silent: where the generator calls the segment silent.
        range: for each 10 dB between floor and source, up to :data:`MAX_RANGE_DB`.
        network: for the mean logit of silence that a network gives in the window, within :data:`MAX_LOGIT`.
    """

    bias: float = -2.235
    below_source: float = 1.313
    above_floor: float = -1.677
    called_silent: float = 3.707
    range: float = 0.839
    network: float = 0.0


FITTED = Weights()
# Of ``boundary``, with its own segments and logits (``benchmarks/fit_silence.py``): 160 mixtures of the library's
# training part (seeds 5000 to 5079, moc and ms3) and 60 synthetic clips (seeds 0 to 29 of both kinds). On 80 mixtures of
# the validation part, of the frames with more than 0.9 a share of 0.99 are silent, and 0.88 of the silent ones are among
# them.
FITTED_BOUNDARY = Weights(
    bias=-0.951, below_source=0.687, above_floor=-0.859, called_silent=2.281, range=0.778, network=0.608
)


def with_silence(
    points: ControlPoints,
    clip: Clip,
    *,
    weights: Weights = FITTED,
    logits: np.ndarray | None = None,
    levels_db: np.ndarray | None = None,
) -> ControlPoints:
    """The control points with the probability of silence in every frame, from what their segments were called.

    ``weights``, ``logits`` and ``levels_db`` as in :func:`silence_probability`.
    """
    called = np.zeros(len(points), bool)
    for segment in points.segments():
        called[segment.start : segment.stop] = bool(segment.silent)
    chances = silence_probability(
        clip.sound, clip.time_base, called, weights=weights, logits=logits, levels_db=levels_db
    )
    return replace(points, silence=chances)


def silence_probability(
    sound: Sound,
    time_base: TimeBase,
    called_silent: np.ndarray,
    *,
    weights: Weights = FITTED,
    logits: np.ndarray | None = None,
    levels_db: np.ndarray | None = None,
) -> np.ndarray:
    """``(T,)`` in [0, 1]: how probably nothing sounds in each frame's window.

    A steady sound has no quiet side to compare with, so that nothing in it is surely silent.

    Args:
        sound: the recording; very quiet ones are raised first.
        time_base: the frames' windows.
        called_silent: ``(T,) bool``, the segment of the frame is silent to the generator.
        weights: the fitted ones.
        logits: ``(T,)`` log odds of silence of each window by a network; none: 0.
        levels_db: ``(n,)`` level of each cell (:mod:`.cells`), raised as the sound is, where it is known already.
    """
    terms = silence_terms(sound, time_base, called_silent, logits, levels_db=levels_db)
    return np.asarray(1 / (1 + np.exp(-(terms @ astuple(weights)))))


def silence_terms(
    sound: Sound,
    time_base: TimeBase,
    called_silent: np.ndarray,
    logits: np.ndarray | None = None,
    *,
    levels_db: np.ndarray | None = None,
) -> np.ndarray:
    """``(T, 6)``: what each of :class:`Weights` is multiplied with."""
    if levels_db is None:
        levels_db = _cell_levels_db(sound, max(1, int(np.ceil(time_base.duration_s * CELLS_PER_S - 1e-6))))
    source_db, floor_db = np.empty_like(levels_db), np.empty_like(levels_db)
    for start in range(0, len(levels_db), STRETCH_CELLS):
        stretch = slice(start, start + STRETCH_CELLS)
        order = np.sort(levels_db[stretch])
        source_db[stretch] = order[-LOUDEST_CELLS:].mean()
        floor_db[stretch] = order[: max(1, int(len(order) * FLOOR_SHARE))].mean()
    first = np.clip(np.round(time_base.sound_window_s[:, 0] * CELLS_PER_S).astype(int), 0, len(levels_db) - 1)
    stop = np.maximum(first + 1, np.round(time_base.sound_window_s[:, 1] * CELLS_PER_S).astype(int))
    power = np.append(0.0, np.cumsum(10 ** (levels_db / 10)))
    stop = np.minimum(stop, len(levels_db))
    here_db = 10 * np.log10(((power[stop] - power[first]) / (stop - first)).clip(1e-30))
    spread_db = np.minimum(source_db[first] - floor_db[first], MAX_RANGE_DB)
    return np.stack(
        [
            np.ones(len(first)),
            (source_db[first] - here_db) / 10,
            np.log1p((here_db - floor_db[first]).clip(0)),
            called_silent,
            spread_db / 10,
            np.zeros(len(first)) if logits is None else np.clip(logits, -MAX_LOGIT, MAX_LOGIT),
        ],
        axis=1,
    )


def _cell_levels_db(sound: Sound, total: int) -> np.ndarray:
    """``(total,)`` level of each cell in dB of full scale."""
    hops, gain_db = HOPS_PER_S // CELLS_PER_S, level_of(sound).gain_db
    levels = []
    for start in range(0, total, STRETCH_CELLS):
        stop = min(start + STRETCH_CELLS, total)
        decibels = log_mel(sound, start=start * hops, stop=stop * hops, gain_db=gain_db)
        power = (10 ** (decibels / 10)).reshape(stop - start, hops, -1).mean(axis=1).sum(axis=1)
        levels.append(10 * np.log10(power))
    return np.concatenate(levels)
