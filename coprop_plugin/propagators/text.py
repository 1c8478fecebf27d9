"""A text model of transformers as the encoder of category words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..weights.pretrained import load_model, load_processor


def text_encoder(folder: str | Path) -> Callable[[Sequence[str]], np.ndarray]:
    """``n words -> (n, D) float32``: mean last hidden states of the text model in a local folder.

    Args:
        folder: a model and its tokenizer that ``AutoModel`` knows; of CLIP-like models the text half is taken.

    Raises:
        CheckpointError: no such model there.
    """
    tokenizer, model = load_processor("AutoTokenizer", folder), load_model("AutoModel", folder, unread=("*pooler*",))
    model = getattr(model, "text_model", model)

    @torch.inference_mode()
    def encode(words: Sequence[str]) -> np.ndarray:
        batch = tokenizer(list(words), padding=True, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()

    return encode
