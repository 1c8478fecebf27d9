"""Fit how far a generator's probabilities of a change are believed: ``python benchmarks/fit_trust.py LIBRARY [NAME]``.

Of a generator that gives probabilities a logistic regression on their log odds, of one that only says yes or no how often
the set changes where it says so and where it does not; on each frame of mixtures of the library's training part, and
beside it on the validation part. Prints what stands in ``fusion/trust.py``.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.optimize import minimize

from coprop_plugin import parts
from coprop_plugin.datasets.objects.clips import make_object_sound
from coprop_plugin.datasets.objects.library import Library, open_library
from coprop_plugin.fusion.trust import CERTAIN
from coprop_plugin.structures import Clip, TimeBase, change_flags

BINS = 10
KINDS = ("moc", "ms3", "s4")
TRAIN_SEEDS, VALIDATION_SEEDS = range(6000, 6060), range(6000, 6020)


def frames(library: Library, split: str, seeds: range, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(N,)`` each: flags, the log odds of a change (NaN where the generator gives none), and whether the set changes."""
    flags, odds, changed = [], [], []
    generator = parts.build("control_points", name)
    for kind in KINDS:
        for seed in seeds:
            made = make_object_sound(library, seed, split=split, kind=kind)
            pictures = np.zeros((len(made.sounding), 1, 1, 3), np.uint8)
            clip = Clip(f"{kind}{seed}", pictures, made.sound, TimeBase.of("avsbench", len(pictures)))
            points = generator(clip)
            flags.append(points.flags[1:])
            given = np.full(len(points), np.nan) if points.confidence is None else points.confidence
            chance = np.where(points.flags, given, 1 - given)[1:].clip(CERTAIN, 1 - CERTAIN)
            odds.append(np.log(chance) - np.log1p(-chance))
            changed.append(change_flags([frozenset(np.flatnonzero(on)) for on in made.sounding])[1:])
    return np.concatenate(flags), np.concatenate(odds), np.concatenate(changed)


def calibration_error(chance: np.ndarray, changed: np.ndarray) -> float:
    """Expected, over ten bins of equal width."""
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    inside = [bins == i for i in range(BINS)]
    return float(sum(abs(chance[i].mean() - changed[i].mean()) * i.mean() for i in inside if i.any()))


def main(folder: str, name: str = "changepoint") -> None:
    library = open_library(folder)
    flags, odds, changed = frames(library, "train", TRAIN_SEEDS, name)
    held_flags, held_odds, held_changed = frames(library, "val", VALIDATION_SEEDS, name)
    if np.isnan(odds).all():
        for told, says, does in (("train", flags, changed), ("validation", held_flags, held_changed)):
            shares = [f"{does[says == said].mean():.3f} of {(says == said).sum()}" for said in (True, False)]
            print(f"{name}, {told}: a change where it says one {shares[0]}, where it says none {shares[1]}")
        return

    def loss(weights: np.ndarray) -> float:
        fitted = weights[0] * odds + weights[1]
        return float((np.logaddexp(0, fitted) - changed * fitted).sum())

    scale, shift = minimize(loss, np.array([1.0, 0.0])).x
    print(f"{name}: scale {scale:.3f}, shift {shift:.3f}, on {len(odds)} frames")
    for told, a, b in (("given", 1.0, 0.0), ("fitted", scale, shift)):
        error = calibration_error(1 / (1 + np.exp(-(a * held_odds + b))), held_changed)
        print(f"validation, {told}: ECE {error:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
