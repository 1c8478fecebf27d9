"""What a tagger heard: a logit of each class in windows of time, and the same in another vocabulary or on frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from ..errors import CoPropError
from ..structures import TimeBase

MOST_LOGIT = 30.0  # beyond it a float64 probability is 0 or 1


@dataclass(frozen=True)
class Tags:
    """Of W windows and C classes.

    Attributes:
        labels: names of the classes.
        windows_s: ``(W, 2) float64``, the half-open stretch that each window stands for; they increase.
        logits: ``(W, C) float32``; a sigmoid makes the model's probabilities of them, each class by itself.
    """

    labels: tuple[str, ...]
    windows_s: np.ndarray
    logits: np.ndarray

    def __post_init__(self) -> None:
        windows, logits = np.asarray(self.windows_s, float), np.asarray(self.logits, np.float32)
        if windows.ndim != 2 or windows.shape[1] != 2 or logits.shape != (len(windows), len(self.labels)):
            raise CoPropError(
                f"tags are (W, {len(self.labels)}) logits of (W, 2) windows; got {logits.shape} and {windows.shape}."
            )
        if not np.isfinite(logits).all():
            raise CoPropError("tags hold NaN or infinite logits: the tagger is broken.")
        object.__setattr__(self, "windows_s", windows)
        object.__setattr__(self, "logits", logits)

    @classmethod
    def regular(cls, labels: Sequence[str], logits: np.ndarray, *, hop_s: float) -> Tags:
        """Windows one after the other from 0 s on."""
        edges = hop_s * np.arange(len(logits) + 1)
        return cls(tuple(labels), np.stack([edges[:-1], edges[1:]], axis=1), logits)

    @classmethod
    def of_probabilities(cls, labels: Sequence[str], probabilities: np.ndarray, *, hop_s: float) -> Tags:
        """From ``(W, C)`` probabilities.

        Raises:
            CoPropError: numbers that are no probabilities.
        """
        chances = np.asarray(probabilities, np.float64)
        if not ((chances >= 0) & (chances <= 1)).all():
            raise CoPropError("the tagger gave numbers that are no probabilities in [0, 1].")
        with np.errstate(divide="ignore"):
            logits = np.log(chances) - np.log1p(-chances)
        return cls.regular(labels, logits.clip(-MOST_LOGIT, MOST_LOGIT), hop_s=hop_s)

    @property
    def probabilities(self) -> np.ndarray:
        """``(W, C) float64`` in [0, 1]."""
        return 1 / (1 + np.exp(-self.logits.astype(np.float64)))

    def on_frames(self, time_base: TimeBase) -> np.ndarray:
        """``(T, C) float32``: the mean logit of the windows that a frame's sound overlaps, weighted by how much."""
        rows = []
        for start_s, stop_s in time_base.sound_window_s:
            shared = np.minimum(self.windows_s[:, 1], stop_s) - np.maximum(self.windows_s[:, 0], start_s)
            weight = np.maximum(shared, 0)
            if not weight.any():
                weight[np.abs(self.windows_s.mean(axis=1) - (start_s + stop_s) / 2).argmin()] = 1
            rows.append(weight @ self.logits / weight.sum())
        return np.stack(rows).astype(np.float32)

    def in_words(self, table: Mapping[str, Sequence[str]]) -> Tags:
        """In another vocabulary: the highest logit of the names that stand for each of its classes.

        Args:
            table: class -> names among ``labels``; names that the tagger does not know count for nothing, and a class
                without a known name is left out.
        """
        place = {label.casefold(): i for i, label in enumerate(self.labels)}
        columns = {name: [place[s.casefold()] for s in same if s.casefold() in place] for name, same in table.items()}
        known = {name: some for name, some in columns.items() if some}
        logits = [self.logits[:, some].max(axis=1) for some in known.values()]
        return Tags(
            tuple(known), self.windows_s, np.stack(logits, axis=1) if logits else np.empty((len(self.logits), 0))
        )


@lru_cache(maxsize=1)
def avsbench_table() -> dict[str, tuple[str, ...]]:
    """AVSBench's class -> AudioSet's display names that mean it (``data/audioset_avsbench.json``)."""
    told = json.loads((files("coprop_plugin") / "data" / "audioset_avsbench.json").read_text(encoding="utf-8"))
    return {name: tuple(same) for name, same in told["classes"].items()}
