"""Fit how probably nothing sounds, from what ``boundary`` hears: ``python benchmarks/fit_silence.py LIBRARY``.

A logistic regression on mixtures of the library's training part and synthetic clips; what it says is checked on
the validation part. Prints the weights that stand in ``control_points/silence.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize

from coprop_plugin.audio.level import level_of
from coprop_plugin.control_points.boundary import Boundary, window_silence
from coprop_plugin.control_points.silence import Weights, silence_terms
from coprop_plugin.datasets.objects.clips import make_object_sound
from coprop_plugin.datasets.objects.library import Library, open_library
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.structures import Clip, TimeBase

RIDGE = 0.01


def rows(generator: Boundary, clip: Clip, silent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(T, 6)`` terms of the regression, and whether nothing sounds."""
    called = np.zeros(len(silent), bool)
    for segment in generator(clip).segments():
        called[segment.start : segment.stop] = bool(segment.silent)
    heard, gain_db = generator.hear(clip.sound, clip.time_base.duration_s), level_of(clip.sound).gain_db
    logits, levels_db = window_silence(heard, clip.time_base), heard.cells_dbfs + gain_db
    return silence_terms(clip.sound, clip.time_base, called, logits, levels_db=levels_db), silent


def mixtures(library: Library, split: str, seeds: range) -> Iterator[tuple[Clip, np.ndarray]]:
    for kind in ("moc", "ms3"):
        for seed in seeds:
            made = make_object_sound(library, seed, split=split, kind=kind)
            frames = np.zeros((len(made.sounding), 1, 1, 3), np.uint8)
            clip = Clip(f"{kind}{seed}", frames, made.sound, TimeBase.of("avsbench", len(frames)))
            yield clip, ~made.sounding.any(axis=1)


def synthetic(seeds: range) -> Iterator[tuple[Clip, np.ndarray]]:
    for kind in ("moc", "ms3"):
        for seed in seeds:
            made = make_clip(seed, kind=kind, size=(32, 32), timbres="drawn")
            yield made.clip, ~np.asarray(made.scene.sounding).any(axis=1)


def main(folder: str) -> None:
    library, generator = open_library(folder), Boundary()
    heard = [rows(generator, *one) for one in (*mixtures(library, "train", range(5000, 5080)), *synthetic(range(30)))]
    terms, silent = (np.concatenate(part) for part in zip(*heard, strict=True))

    def loss(weights: np.ndarray) -> float:
        odds = terms @ weights
        return float((np.logaddexp(0, odds) - silent * odds).sum() + RIDGE * (weights @ weights))

    weights = minimize(loss, np.zeros(terms.shape[1])).x
    print(Weights(*weights.round(3).tolist()))
    checked = [rows(generator, *one) for one in mixtures(library, "val", range(5000, 5040))]
    terms, silent = (np.concatenate(part) for part in zip(*checked, strict=True))
    sure = terms @ weights > np.log(9)
    print(
        f"validation: {sure.sum()} frames above 0.9, of them silent {silent[sure].mean():.2f}; "
        f"of {silent.sum()} silent frames found {(sure & silent).sum() / silent.sum():.2f}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
