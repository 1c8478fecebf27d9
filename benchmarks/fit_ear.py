"""Fit what YAMNet's logit of an object's class says: ``python benchmarks/fit_ear.py LIBRARY [CLIPS]``.

A logistic regression on the objects that are seen in mixtures of the library's training part, sounding or not, by the
names that a prediction would give them; what it says is checked on the validation part. Prints the weights that stand in
``fusion/evidence.py``: the prior odds are taken out of the bias.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize

from coprop_plugin.datasets.made import made_clips
from coprop_plugin.fusion.candidates import sounds_of
from coprop_plugin.fusion.evidence import EarWeights, InstalledYamNet

RIDGE = 0.1
FIRST_SEED = 300
BINS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01)


def objects(library: str, split: str, clips: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every object that the ear knows: ``(T, 2)`` terms, and ``(T,)`` whether it sounds."""
    ear = InstalledYamNet()
    for kind in ("avss", "moc"):
        made = made_clips(f"objects:{library}:{split}:{kind}:{FIRST_SEED}-{FIRST_SEED + clips - 1}")
        for seed in made.seeds:
            one = made.make(seed, size=(32, 32))
            tags = ear.tags(one.clip)
            place = {label.casefold(): i for i, label in enumerate(tags.labels)}
            logits = tags.on_frames(one.clip.time_base).astype(float)
            for column, class_id in enumerate(one.scene.object_class.values()):
                names = [name.casefold() for name in sounds_of(one.scene.names.get(class_id, ""))]
                known = [place[name] for name in names if name in place]
                if known:
                    here = logits[:, known].max(axis=1)
                    terms = np.stack([np.ones(len(here)), here], axis=1)
                    yield terms, np.asarray(one.scene.sounding[:, column])


def main(library: str, clips: int = 45) -> None:
    terms, sounding = (np.concatenate(part) for part in zip(*objects(library, "train", clips), strict=True))

    def loss(weights: np.ndarray) -> float:
        odds = terms @ weights
        return float((np.logaddexp(0, odds) - sounding * odds).sum() + RIDGE * (weights @ weights))

    weights = minimize(loss, np.zeros(2)).x
    prior = np.log(sounding.mean() / (1 - sounding.mean()))
    print(EarWeights(*np.round(weights - [prior, 0], 3).tolist()), f"prior odds {prior:.2f}")
    terms, sounding = (np.concatenate(part) for part in zip(*objects(library, "val", (clips + 1) // 2), strict=True))
    chances = 1 / (1 + np.exp(-(terms @ weights)))
    for low, high in pairwise(BINS):
        inside = (chances >= low) & (chances < high)
        if inside.any():
            print(f"validation: {inside.sum()} frames at {low} to {high}: {sounding[inside].mean():.2f} sound")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
