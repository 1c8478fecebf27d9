"""When each object of a synthetic clip sounds: drawn per frame first, so that truth and sound cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from ..errors import CoPropError, unknown_name
from ..structures import Sampling, TimeBase, parse_sampling

MAX_JITTER = 0.25  # of a window; up to here "on at the window's midpoint" and "on for at least half" agree


@dataclass(frozen=True)
class ClipKind:
    """What clips of a kind have; ranges are inclusive.

    Attributes:
        num_frames: the default T.
        sources: how many objects sound at some time.
        distractors: how many objects are seen and never sound.
        change_share: the share of clips in which the set of sounding objects changes.
        changes: how many control points besides frame 0, where it changes.
        silence_share: how likely a state is silence.
        pair_share: how likely a state that is not silent has two sources.
        off_screen_share: the share of clips with a sound that nothing in the picture makes.
        min_gap_s: changes are at least this far apart.
    """

    sampling: Sampling
    num_frames: int
    sources: tuple[int, int]
    distractors: tuple[int, int]
    change_share: float
    changes: tuple[int, int]
    silence_share: float
    pair_share: float
    off_screen_share: float
    min_gap_s: float = 1.0


_SECONDS = parse_sampling("avsbench")
KINDS = {
    # one source that sounds throughout, as the single-source subset of AVSBench
    "s4": ClipKind(_SECONDS, 5, (1, 1), (0, 1), 0.0, (0, 0), 0.0, 0.0, 0.0),
    # 17 of the 64 test videos of the multi-source subset change
    "ms3": ClipKind(_SECONDS, 5, (1, 3), (0, 2), 17 / 64, (1, 2), 0.15, 0.4, 0.1),
    "avss": ClipKind(_SECONDS, 10, (1, 3), (0, 2), 0.45, (1, 4), 0.15, 0.35, 0.15),
    "moc": ClipKind(_SECONDS, 10, (2, 3), (0, 2), 1.0, (3, 5), 0.2, 0.35, 0.15),
}
_UNIFORM = ClipKind(_SECONDS, 0, (1, 3), (0, 2), 0.8, (1, 4), 0.2, 0.35, 0.15, min_gap_s=0.5)


def clip_kind(name: str) -> ClipKind:
    """The kind of that name: one of KINDS, or ``uniform:RATE`` (4 s by default).

    Raises:
        CoPropError: unknown.
    """
    if name in KINDS:
        return KINDS[name]
    if name.startswith("uniform"):
        sampling = parse_sampling(name)
        return replace(_UNIFORM, sampling=sampling, num_frames=ceil(4 * sampling.rate_hz))
    raise unknown_name("kind of clip", name, (*KINDS, "uniform:RATE"))


def draw_states(rng: np.random.Generator, kind: ClipKind, num_frames: int) -> np.ndarray:
    """``(T, S) bool``: which source sounds in which frame. Each source sounds in at least one.

    Raises:
        CoPropError: too few frames for the changes that the kind promises.
    """
    gap = max(1, ceil(kind.min_gap_s * kind.sampling.rate_hz))
    possible = (num_frames - 1) // gap
    num_sources = int(rng.integers(kind.sources[0], kind.sources[1] + 1))
    num_changes = 0
    if rng.random() < kind.change_share:
        if possible < kind.changes[0] and kind.change_share == 1:
            raise CoPropError(
                f"a clip of this kind has at least {kind.changes[0]} changes, which {num_frames} frames cannot hold; "
                f"give at least {kind.changes[0] * gap + 1} frames."
            )
        num_changes = int(rng.integers(kind.changes[0], kind.changes[1] + 1))
    num_changes = min(num_changes, possible)
    # Without a change the sources sound together; as many states as there are changes must show them all.
    num_sources = min(num_sources, 2 if num_changes == 0 else 2 * num_changes)
    starts = _starts(rng, num_frames, num_changes, gap)
    while True:
        sets = _sets(rng, kind, num_sources, num_changes + 1)
        if np.any(sets, axis=0).all():
            return np.repeat(sets, np.diff((*starts, num_frames)), axis=0)


def _starts(rng: np.random.Generator, num_frames: int, num_changes: int, gap: int) -> np.ndarray:
    """``(num_changes + 1,)`` first frames of the segments, at least ``gap`` apart: spread what is left over."""
    free = num_frames - 1 - num_changes * gap
    slack = np.sort(rng.integers(0, free + 1, num_changes)) if num_changes else np.empty(0, int)
    return np.concatenate([[0], slack + gap * np.arange(1, num_changes + 1)]).astype(int)


def _sets(rng: np.random.Generator, kind: ClipKind, num_sources: int, count: int) -> np.ndarray:
    """``(count, S) bool`` sets of sources, each different from the one before."""
    sets = np.zeros((count, num_sources), bool)
    if count == 1:
        sets[:] = True
        return sets
    for i in range(count):
        while True:
            sets[i] = False
            if rng.random() >= kind.silence_share:
                many = 2 if num_sources > 1 and rng.random() < kind.pair_share else 1
                sets[i, rng.permutation(num_sources)[:many]] = True
            if i == 0 or (sets[i] != sets[i - 1]).any():
                break
    return sets


def change_times_s(rng: np.random.Generator, time_base: TimeBase, jitter: float) -> np.ndarray:
    """``(T + 1,)`` seconds: when a change that belongs to frame k happens; the last entry is the end.

    By the half rule a change at s seconds belongs to the first frame whose window's midpoint is at or after s, so
    it may be moved by ``jitter`` windows to either side of the window's start (0: on the grid).
    """
    starts, widths = time_base.sound_window_s[:, 0], np.diff(time_base.sound_window_s, axis=1)[:, 0]
    times = starts + widths * rng.uniform(-jitter, jitter, len(starts))
    times[0] = starts[0]
    return np.append(times, time_base.duration_s)


def intervals(states: np.ndarray) -> list[tuple[int, int]]:
    """The runs ``[start, stop)`` of true values of ``(T,) bool``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], states, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
