"""Control points from an audio tagger: classes second by second, and where their probabilities change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio.level import level_of, raised
from ..audio.resample import resample
from ..errors import CoPropError, unknown_name
from ..parts import part
from ..structures import AVSBENCH_NAMES, Clip, ControlPoints, Origin, Prediction
from ..weights.pretrained import load_model, load_processor, model_folder, read_config
from .base import ControlPointGenerator
from .segmentation import best_segments

if TYPE_CHECKING:
    import torch

CHANGE = 0.5  # not tuned on real sound: a change of one sure class to another pays from one second on
NAMED_FROM = 0.3
MOST_NAMES = 5
SILENCE = "silence"  # AudioSet's class of that name, in lower case
CLAP_PROMPT = "This is a sound of {label}."
_NEVER = 1e9

Tag = Callable[[Sequence[np.ndarray]], np.ndarray]


@part("control_points", "tagger", needs="a tagger model: a folder or hub id", example="model=MODEL_DIR")
class Tagger(ControlPointGenerator):
    """Probabilities of sound classes in each second, by AST or CLAP through transformers, and change-points on them.

    Needs neither prompts nor a large model. Fills ``categories`` (classes of a mean probability from ``NAMED_FROM``
    on) and ``silent`` where the model has a class "Silence". The change price is not tuned on real sound.

    Args:
        model: folder or hub id (in the local cache) of an ``ASTForAudioClassification`` or a ``ClapModel``.
        labels: what CLAP is asked for; by default AVSBench's classes. AST brings its own.
        change: price of a change, in squared distance of probabilities' roots.
        device: ``auto``, or as torch names it.
        batch_size: seconds heard at once.

    Attributes:
        calls: batches that the model heard so far.

    Raises:
        CoPropError: no such model, another kind of model, or options out of range.
    """

    def __init__(
        self,
        *,
        model: str | Path,
        labels: Sequence[str] | None = None,
        change: float = CHANGE,
        device: str = "auto",
        batch_size: int = 16,
    ) -> None:
        if not change > 0 or batch_size < 1:
            raise CoPropError(f"change is positive and batch_size 1 or more, got {change} and {batch_size}.")
        self.folder = model_folder(model)
        kind = read_config(self.folder)["model_type"]
        if kind not in _LOADERS:
            raise unknown_name("tagger model_type", kind, _LOADERS)
        if kind != "clap" and labels is not None:
            raise CoPropError(f"labels are for CLAP; a model of the kind '{kind}' has its own classes.")
        self.kind, self.change, self.device, self.batch_size = kind, change, device, batch_size
        self.labels = tuple(labels or AVSBENCH_NAMES[1:])
        self.calls: int = 0
        self._loaded: tuple[Tag, int, tuple[str, ...]] | None = None

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Listen to each second; ``base`` is not looked at.

        Raises:
            CoPropError: the model cannot be loaded, or gives no probabilities.
        """
        chances, labels = self.tags(clip)
        starts = change_points(chances, change=self.change)
        time_base = clip.time_base
        flags = time_base.flags_of_changes(starts[1:])
        second = np.minimum(time_base.sound_window_s.mean(axis=1).astype(int), len(chances) - 1)
        segments = ControlPoints(flags).segments()
        means = [chances[second[s.start] : second[s.stop - 1] + 1].mean(axis=0) for s in segments]
        quiet = [label.casefold() == SILENCE for label in labels]
        silent = tuple(bool(quiet[mean.argmax()]) for mean in means) if any(quiet) else None
        return ControlPoints(
            flags,
            silent=silent,
            categories=tuple(_names(mean, labels) for mean in means),
            origin=Origin(self.name),
        )

    def tags(self, clip: Clip) -> tuple[np.ndarray, tuple[str, ...]]:
        """``(seconds, C) float64`` probabilities, and the C labels.

        Raises:
            CoPropError: as for a call.
        """
        if self._loaded is None:
            self._loaded = self._load()
        tag, rate_hz, labels = self._loaded
        seconds = max(1, math.ceil(clip.time_base.duration_s - 1e-6))
        rows, gain_db = [], level_of(clip.sound).gain_db
        for start in range(0, seconds, self.batch_size):
            pieces = [clip.sound.window(s, s + 1) for s in range(start, min(start + self.batch_size, seconds))]
            self.calls += 1
            heard = [resample(raised(piece, gain_db), clip.sound.rate_hz, rate_hz) for piece in pieces]
            rows.append(tag([piece.astype(np.float32) for piece in heard]))
        chances = np.concatenate(rows).astype(np.float64)
        if chances.shape != (seconds, len(labels)) or not ((chances >= 0) & (chances <= 1)).all():
            raise CoPropError(f"the tagger in '{self.folder}' gave no probabilities for clip '{clip.clip_id}'.")
        return chances, labels

    def _load(self) -> tuple[Tag, int, tuple[str, ...]]:
        from ..weights.device import choose_device

        return _LOADERS[self.kind](self.folder, self.labels, choose_device(self.device))


def change_points(chances: np.ndarray, *, change: float) -> list[int]:
    """The first seconds of the cheapest segments of ``(n, C)`` probabilities; the first is 0.

    A segment costs its rows' squared distances from their mean, taken of square roots: a class that comes at 0.1 counts
    as much as one that goes from 0.5 to 1.
    """
    n = len(chances)
    costs = np.full((2, n + 1, n + 1), _NEVER)
    roots = np.sqrt(chances)
    sums = np.concatenate([np.zeros((1, roots.shape[1])), np.cumsum(roots, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum((roots**2).sum(axis=1))])
    for start in range(n):
        length = np.arange(1, n + 1 - start)
        mean_energy = ((sums[start + 1 :] - sums[start]) ** 2).sum(axis=1) / length
        costs[0, start, start + 1 :] = squares[start + 1 :] - squares[start] - mean_energy
    return [start for start, _ in best_segments(costs, np.full(n + 1, change))]


def _names(mean: np.ndarray, labels: Sequence[str]) -> tuple[str, ...]:
    order = np.argsort(-mean, kind="stable")[:MOST_NAMES]
    return tuple(labels[i] for i in order if mean[i] >= NAMED_FROM and labels[i].casefold() != SILENCE)


def _load_ast(folder: Path, _: Sequence[str], device: torch.device) -> tuple[Tag, int, tuple[str, ...]]:
    import torch

    model = load_model("ASTForAudioClassification", folder, device=device)
    extractor = load_processor("ASTFeatureExtractor", folder)

    @torch.inference_mode()
    def tag(sounds: Sequence[np.ndarray]) -> np.ndarray:
        heard = extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return torch.sigmoid(model(heard["input_values"].to(device)).logits.float()).cpu().numpy()

    names = model.config.id2label
    return tag, extractor.sampling_rate, tuple(str(names[i]) for i in range(len(names)))


def _load_clap(folder: Path, labels: Sequence[str], device: torch.device) -> tuple[Tag, int, tuple[str, ...]]:
    import torch

    model = load_model("ClapModel", folder, device=device)
    extractor = load_processor("ClapFeatureExtractor", folder)
    tokenizer = load_processor("AutoTokenizer", folder)

    def unit(embedded: Any) -> torch.Tensor:
        return torch.nn.functional.normalize(getattr(embedded, "pooler_output", embedded).float(), dim=-1)

    with torch.inference_mode():
        texts = tokenizer([CLAP_PROMPT.format(label=label) for label in labels], padding=True, return_tensors="pt")
        named = unit(model.get_text_features(**texts.to(device)))

    @torch.inference_mode()
    def tag(sounds: Sequence[np.ndarray]) -> np.ndarray:
        heard = extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt").to(device)
        like = unit(model.get_audio_features(**heard)) @ named.T
        return torch.softmax(model.logit_scale_a.float().exp() * like, dim=-1).cpu().numpy()

    return tag, extractor.sampling_rate, tuple(labels)


_LOADERS = {"audio-spectrogram-transformer": _load_ast, "clap": _load_clap}
