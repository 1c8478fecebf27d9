"""Small made videos, binary and of three classes, and a scorer filled with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from coprop_plugin.metrics.protocols import Scorer
from coprop_plugin.structures import Prediction

CLASSES = (1, 2, 3)


def logits_of(seed: int, *, frames: int = 4, size: tuple[int, int] = (12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Foreground logits and 0/1 truth ``(T, H, W)``; the last frame is silent."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((frames, *size), int)
    truth[:-1, 2:9, 3 : 6 + seed % 7] = 1
    logits = (4 * truth - 2 + rng.normal(0, 2, truth.shape)).astype(np.float32)
    return logits, truth


def binary_video(seed: int, **shape: Any) -> tuple[Prediction, Prediction]:
    logits, truth = logits_of(seed, **shape)
    return Prediction.from_foreground(logits, kind="logit"), Prediction.from_labels(truth)


def semantic_video(seed: int) -> tuple[Prediction, Prediction]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (3, 2, 2)).repeat(4, 1).repeat(4, 2)
    scores = rng.normal(0, 1, (3, 4, 8, 8)).astype(np.float32)
    np.put_along_axis(scores, truth[:, None], 1.5, axis=1)
    return Prediction(scores=scores, kind="logit", class_ids=CLASSES), Prediction.from_labels(truth, class_ids=CLASSES)


def scored(protocol: Any, videos: dict[str, Any], **options: Any) -> Scorer:
    scorer = Scorer(protocol, **options)
    for video_id, (prediction, truth) in videos.items():
        scorer.add(video_id, prediction, truth)
    return scorer


BINARY = {f"video {seed}": binary_video(seed) for seed in range(5)}
SEMANTIC = {f"video {seed}": semantic_video(seed) for seed in range(5)}
