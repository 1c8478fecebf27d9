"""The paper's baseline (table 2b, "cosine"): a control point where neighbouring frames' audio features are unlike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..audio.level import level_of
from ..audio.log_mel import FLOOR_DB, HOPS_PER_S, log_mel
from ..errors import CoPropError
from ..parts import part
from ..structures import Clip, ControlPoints, Origin, Prediction, Sound
from .base import ControlPointGenerator

if TYPE_CHECKING:
    from ..audio.yamnet import YamNet

Features = Callable[[Clip], np.ndarray]

PAPER_THRESHOLD = 0.8  # the paper gives neither features nor threshold; this is our reading for VGGish
# What `fit_threshold` gives on the synthetic `moc` clips of seeds 0 to 39 (F1 0.98 there, with sounds far steadier than
# real ones); a test fits it again.
LOG_MEL_THRESHOLD = 0.9977
YAMNET_THRESHOLD = 0.751  # the same on 60 clips of a library of real objects, training part


@part(
    "control_points",
    "cosine",
    needs="features, or VGGish's weights",
    weights="vggish-10086976.pth, which comes with published AVS code",
    example="checkpoint=vggish-10086976.pth,threshold=0.7",
)
class Cosine(ControlPointGenerator):
    """A frame is a control point if its feature's cosine with the frame before is under a threshold.

    Args:
        features: ``clip -> (T, D)``, such an array itself (of the one clip it belongs to), or ``"vggish"``.
        threshold: in [-1, 1].
        checkpoint: the weights of VGGish, for ``features="vggish"``.

    Raises:
        CoPropError: VGGish without its weights, an unknown name, or a threshold out of range.
    """

    def __init__(
        self,
        *,
        features: Features | np.ndarray | Literal["vggish"] = "vggish",
        threshold: float = PAPER_THRESHOLD,
        checkpoint: str | None = None,
    ) -> None:
        if not -1 <= threshold <= 1:
            raise CoPropError(f"the threshold of a cosine lies in [-1, 1], got {threshold}.")
        self.threshold = threshold
        self.features = _features_of(features, checkpoint)

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Compare each frame's sound with the one before; ``base`` is not looked at.

        Raises:
            CoPropError: the features are not ``(T, D)`` finite numbers.
        """
        features = np.asarray(self.features(clip), np.float64)
        if features.ndim != 2 or len(features) != clip.num_frames or not np.isfinite(features).all():
            raise CoPropError(
                f"clip '{clip.clip_id}': {self.name} needs finite features ({clip.num_frames}, D), one row a frame; "
                f"got the shape {features.shape}."
            )
        flags = np.append(True, similarities(features) < self.threshold)
        return ControlPoints(flags, origin=Origin(self.name))


@part("control_points", "cosine-logmel")
class CosineLogMel(Cosine):
    """As ``cosine`` on log-mel features, which need no weights.

    Args:
        threshold: by default the one fitted on synthetic clips.
    """

    def __init__(self, *, threshold: float = LOG_MEL_THRESHOLD) -> None:
        super().__init__(features=frame_log_mel, threshold=threshold)


@part("control_points", "cosine-yamnet", needs="YAMNet's weights (an installed package)", extra="yamnet")
class CosineYamNet(Cosine):
    """As ``cosine`` on the embeddings of YAMNet.

    Args:
        threshold: by default the one fitted on clips of a library's training part.
        path: YAMNet's weights file; by default that of the installed package.

    Raises:
        CoPropError: the package is not installed, or a threshold out of range.
    """

    def __init__(self, *, threshold: float = YAMNET_THRESHOLD, path: str | None = None) -> None:
        from ..audio.yamnet import YamNet

        yamnet = YamNet.load(path)
        super().__init__(features=lambda clip: frame_embeddings(yamnet, clip), threshold=threshold)


def frame_embeddings(yamnet: YamNet, clip: Clip) -> np.ndarray:
    """``(T, 1024)``: the mean embedding of the patches whose middles lie in each frame's sound window, or of the nearest."""
    from ..audio.yamnet import HOP_S, num_patches

    count = num_patches(clip.time_base.duration_s)
    _, embeddings = yamnet.listen(clip.sound, stop=count)
    middles_s = (np.arange(count) + 0.5) * HOP_S
    rows = []
    for start_s, stop_s in clip.time_base.sound_window_s:
        inside = (middles_s >= start_s) & (middles_s < stop_s)
        inside[np.abs(middles_s - (start_s + stop_s) / 2).argmin()] = True
        rows.append(embeddings[inside].mean(axis=0))
    return np.stack(rows)


def frame_log_mel(clip: Clip) -> np.ndarray:
    """``(T, NUM_MELS)``: the mean log-mel vector of each frame's sound window, in dB above digital silence."""
    gain_db = level_of(clip.sound).gain_db
    windows_s = clip.time_base.sound_window_s
    return np.stack([_mean_log_mel(clip.sound, start_s, stop_s, gain_db) for start_s, stop_s in windows_s])


def _mean_log_mel(sound: Sound, start_s: float, stop_s: float, gain_db: float) -> np.ndarray:
    start = round(start_s * HOPS_PER_S)
    stop = max(start + 1, round(stop_s * HOPS_PER_S))
    return log_mel(sound, start=start, stop=stop, gain_db=gain_db).mean(axis=0) - FLOOR_DB


def similarities(features: np.ndarray) -> np.ndarray:
    """``(T - 1,)`` cosines of neighbouring rows of ``(T, D)``; two zero rows are alike, one is unlike anything else."""
    norms = np.linalg.norm(features, axis=1)
    products = (features[1:] * features[:-1]).sum(axis=1)
    lengths = norms[1:] * norms[:-1]
    both_zero = (norms[1:] == 0) & (norms[:-1] == 0)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), both_zero)


def fit_threshold(clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The threshold with the best F1 (micro, tolerance 0, frame 0 left out) over training clips.

    Args:
        clips: pairs of similarities ``(T - 1,)`` and true flags ``(T,)``.

    Returns:
        Half way between the two similarities that it separates; the lower of equally good ones.

    Raises:
        CoPropError: no clip, or none with a change.
    """
    pairs = [(np.asarray(similar, float), np.asarray(flags, bool)[1:]) for similar, flags in clips]
    similar = np.concatenate([s for s, _ in pairs]) if pairs else np.empty(0)
    changed = np.concatenate([c for _, c in pairs]) if pairs else np.empty(0, bool)
    if not changed.any():
        raise CoPropError(f"a threshold is fitted on clips with changes; got {len(pairs)} clips and no change.")
    order = np.argsort(similar, kind="stable")
    similar, hits = similar[order], np.cumsum(changed[order])
    found = np.arange(1, len(similar) + 1)
    f1 = 2 * hits / (found + changed.sum())
    apart = np.append(similar[1:] > similar[:-1], True)  # a threshold cannot part equal similarities
    best = int(np.where(apart, f1, -1).argmax())
    above = similar[best + 1] if best + 1 < len(similar) else 1.0
    return float((similar[best] + above) / 2)


def _features_of(features: Any, checkpoint: str | None) -> Features:
    """The callable that gives the features."""
    if isinstance(features, str):
        if features != "vggish":
            raise CoPropError(f"unknown features '{features}'. Allowed: vggish, a callable, an array (T, D).")
        if checkpoint is None:
            raise CoPropError(
                "cosine control points hear with VGGish, whose weights come with published AVS code; name the file: "
                "cosine:checkpoint=FILE. Without weights take cosine-logmel."
            )
        from ..audio.vggish import VGGish

        vggish = VGGish.load(checkpoint)
        return lambda clip: vggish.embed_windows(clip.sound, clip.time_base.sound_window_s)
    if callable(features):
        return features
    return lambda clip: features
