"""How sure a before/after difference is: paired bootstrap over videos, sign test, sign-flip test.

The video is the unit: frames of a video are not independent. Before and after are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np

from ..errors import CoPropError
from .curves import Curves

Stack = np.ndarray | Curves
Statistic = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

EXACT_FLIPS_BELOW = 13  # videos: fewer have under 2^13 sign patterns, and all of them are tried


@dataclass(frozen=True)
class Difference:
    """A difference ``after - before`` with its interval over videos.

    Attributes:
        before, after, delta: the values of all videos.
        low, high: percentile interval of the difference at ``level``.
        draws, seed: of the bootstrap.
        videos: their number; ``better``, ``worse``, ``same`` count the differences of single videos, where defined.
        p_sign, p_flip: two-sided exact sign test and sign-flip test of the mean difference over videos.
    """

    before: float
    after: float
    delta: float
    low: float
    high: float
    level: float
    draws: int
    seed: int
    videos: int
    better: int
    worse: int
    same: int
    p_sign: float
    p_flip: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_BLOCK, _BLOCK_NUMBERS = (
    256,
    1 << 17,
)  # draws and flips at once, and the numbers that they hold: memory is that of the sums


def _block(videos: int) -> int:
    return max(1, min(_BLOCK, _BLOCK_NUMBERS // max(videos, 1)))


def draw_counts(videos: int, *, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks ``(B, videos) float64`` of all draws: how often each video is drawn, with replacement."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _block(videos)):
        size = min(_block(videos), draws - start)
        places = rng.integers(0, videos, (size, videos)) + videos * np.arange(size)[:, None]
        yield np.bincount(places.ravel(), minlength=size * videos).reshape(size, videos).astype(float)


def paired_bootstrap(
    before: np.ndarray, after: np.ndarray, *, draws: int = 10000, seed: int = 0, level: float = 0.95
) -> Difference:
    """The difference of the means of per-video values ``(V,)``.

    Raises:
        CoPropError: lengths differ, no video, or a value that is not finite.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.ndim != 1 or before.shape != after.shape or not len(before):
        raise CoPropError(f"a paired bootstrap needs one value a video, got {before.shape} and {after.shape}.")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise CoPropError("a paired bootstrap needs finite values; leave videos without a value out of both sides.")
    sums = [{"value": values, "videos": np.ones(len(values))} for values in (before, after)]

    def mean(total: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"mean": total["value"] / total["videos"]}

    return paired_bootstrap_of_sums(sums[0], sums[1], mean, draws=draws, seed=seed, level=level)["mean"]


def paired_bootstrap_of_sums(
    before: Mapping[str, Stack],
    after: Mapping[str, Stack],
    statistic: Statistic,
    *,
    draws: int = 10000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """The differences of numbers that are functions of sums over videos (as batch-free ``M_F`` or semantic ``M_J``).

    Args:
        before: name -> ``(V, …)``, the sums of each video.
        after: likewise.
        statistic: totals with a leading axis of draws ``(B, …)`` -> number's name -> ``(B,)``.
    """
    if draws < 1 or not 0 < level < 1:
        raise CoPropError(f"a bootstrap needs draws and a level between 0 and 1 (as 0.95); got {draws} and {level}.")
    sides = (before, after)
    videos = _videos(before)
    old, new = ([statistic(_all_once(sums)), _one_by_one(statistic, sums)] for sums in sides)
    drawn_differences: dict[str, list[np.ndarray]] = {name: [] for name in old[0]}
    for counts in draw_counts(videos, draws=draws, seed=seed):
        drawn_old, drawn_new = (statistic(_drawn(sums, counts)) for sums in sides)
        for name, blocks in drawn_differences.items():
            blocks.append(np.asarray(drawn_new[name], float) - drawn_old[name])

    def difference(name: str) -> Difference:
        whole, of_videos = (np.asarray(n[name], float) - o[name] for o, n in zip(old, new, strict=True))
        drawn = np.concatenate(drawn_differences[name])
        drawn, of_videos = drawn[~np.isnan(drawn)], of_videos[~np.isnan(of_videos)]
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else (np.nan, np.nan)
        better, worse = int((of_videos > _SAME).sum()), int((of_videos < -_SAME).sum())
        return Difference(
            before=float(old[0][name][0]),
            after=float(new[0][name][0]),
            delta=float(whole[0]),
            low=float(low),
            high=float(high),
            level=level,
            draws=draws,
            seed=seed,
            videos=videos,
            better=better,
            worse=worse,
            same=len(of_videos) - better - worse,
            p_sign=sign_test(better, worse),
            p_flip=sign_flip_test(of_videos, seed=seed),
        )

    return {name: difference(name) for name in old[0]}


def _all_once(sums: Mapping[str, Stack]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values.sum(axis=0))[None] for name, values in sums.items()}


def _drawn(sums: Mapping[str, Stack], counts: np.ndarray) -> dict[str, np.ndarray]:
    return {
        name: values.weighted(counts) if isinstance(values, Curves) else np.tensordot(counts, values, 1)
        for name, values in sums.items()
    }


def _one_by_one(statistic: Statistic, sums: Mapping[str, Stack]) -> dict[str, np.ndarray]:
    """The numbers of each video alone, some videos at a time: curves are whole for those alone."""
    blocks = [
        statistic({name: values[start : start + _BLOCK] for name, values in sums.items()})
        for start in range(0, _videos(sums), _BLOCK)
    ]
    return {name: np.concatenate([np.asarray(block[name], float) for block in blocks]) for name in blocks[0]}


def _videos(sums: Mapping[str, Stack]) -> int:
    return len(next(iter(sums.values())))


_SAME = 1e-12  # differences below are rounding


def sign_test(better: int, worse: int) -> float:
    """Exact two-sided p of so uneven a count if better and worse were equally likely; ties are left out."""
    n, few = better + worse, min(better, worse)
    return min(1.0, 2 * sum(comb(n, k) for k in range(few + 1)) / 2**n)


def sign_flip_test(differences: np.ndarray, *, flips: int = 10000, seed: int = 0) -> float:
    """Two-sided p of the mean difference over videos under random signs; exact for fewer than 13 videos.

    Drawn: ``(1 + hits) / (1 + flips)``; exact: the share of all sign patterns that reach the mean.
    """
    differences = np.asarray(differences, float)
    n = len(differences)
    if not n:
        return 1.0
    reached = abs(differences.sum()) * (1 - 1e-12)
    if n < EXACT_FLIPS_BELOW:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ differences) >= reached).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, flips, _block(n)):
        signs = rng.choice((-1.0, 1.0), (min(_block(n), flips - start), n))
        hits += int((np.abs(signs @ differences) >= reached).sum())
    return (1 + hits) / (1 + flips)
