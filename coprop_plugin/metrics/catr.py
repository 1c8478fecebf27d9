"""What CATR's test script does to its outputs before they are scored."""

from __future__ import annotations

import numpy as np

from ..masks.probability import softmax
from ..masks.resize import bilinear

SIZE = (224, 224)


def select_queries(pred_is_referred: np.ndarray, pred_masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame the query that is most likely referred to, its mask logits resized to 224x224.

    Args:
        pred_is_referred: ``(T, Q, 2)`` logits, channel 0 "referred".
        pred_masks: ``(T, Q, h, w)`` mask logits.

    Returns:
        ``selected (T,) int64`` and ``logits (T, 224, 224) float32`` of the foreground.
    """
    referred = softmax(np.moveaxis(pred_is_referred, -1, 0))[0]
    selected = referred.argmax(axis=1)
    masks = pred_masks[np.arange(len(selected)), selected].astype(np.float32)
    return selected, bilinear(masks, SIZE)
