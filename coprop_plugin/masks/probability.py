"""The one place where logits become probabilities (float32, torch's sigmoid and softmax, as published code has them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..structures import Prediction
from ..structures.prediction import Kind

if TYPE_CHECKING:
    import torch


def probabilities(prediction: Prediction, t: int) -> np.ndarray:
    """``(K+1, H, W) float32`` probabilities of frame t, the background first, whatever the prediction's kind.

    Raises:
        PredictionError: the frame holds NaN or infinite values, or probabilities outside [0, 1].
    """
    return class_probabilities(prediction.frame(t), prediction.kind)


def class_probabilities(scores: np.ndarray, kind: Kind) -> np.ndarray:
    """``(K+1, H, W) float32`` probabilities of one frame's scores of this kind; hard scores are 0 and 1 already."""
    if kind != "logit":
        return scores
    if len(scores) == 2:
        foreground = sigmoid(scores[1] - scores[0])
        return np.stack([1 - foreground, foreground])
    return softmax(scores)


def foreground_probability(scores: np.ndarray, kind: Kind) -> np.ndarray:
    """``(H, W) float32`` in [0, 1]: the probability that a pixel is no background.

    Two logit channels give ``sigmoid(l1 - l0)``, which for a binary model's ``[0, z]`` is ``sigmoid(z)`` to the bit.
    """
    if kind != "logit":
        return np.clip(scores[1] if len(scores) == 2 else 1 - scores[0], 0, 1)
    if len(scores) == 2:
        return sigmoid(scores[1] - scores[0])
    return np.clip(1 - softmax(scores)[0], 0, 1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """``float32 -> float32`` of any shape. NaN stays NaN."""
    import torch  # here: masks that are no logits do without it, and its import takes seconds

    return torch.sigmoid(tensor(logits)).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    """``(C, ...) float32 -> float32`` over the first axis."""
    import torch

    return torch.softmax(tensor(logits), dim=0).numpy()


def tensor(array: np.ndarray) -> torch.Tensor:
    """The array as a float32 tensor, sharing its memory where it may be written to."""
    import torch

    array = np.ascontiguousarray(array, np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
