"""A text model of transformers as the encoder of category words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError


def text_encoder(folder: str | Path) -> Callable[[Sequence[str]], np.ndarray]:
    """``n words -> (n, D) float32``: mean last hidden states of the text model in a local folder.

    Args:
        folder: a model and its tokenizer that ``AutoModel`` knows; of CLIP-like models the text half is taken.

    Raises:
        CheckpointError: no such model there.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False).eval()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{folder}' holds no text model that transformers can read: {error}") from error
    model = getattr(model, "text_model", model)

    @torch.inference_mode()
    def encode(words: Sequence[str]) -> np.ndarray:
        batch = tokenizer(list(words), padding=True, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()

    return encode
