"""The encoders of SSP's texts: BERT's tokenizer and a frozen CLIP, from folders of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import CheckpointError
from ...language.answers import Answers
from ...weights.device import choose_device
from ...weights.pretrained import fingerprint, load_model, load_processor, model_folder, read_config
from .align import Texts
from .bert import BertSizes

MOST_TOKENS = 256


class Encoders:
    """Tokens of answers and of frames.

    Args:
        text: folder of a BERT model (its tokenizer; training also takes its weights).
        vision: folder of a CLIP vision model.
        device: where CLIP runs.

    Raises:
        CoPropError: no such folders, or models of another kind.
        CheckpointError: files are missing or damaged.
    """

    def __init__(self, text: str | Path, vision: str | Path, *, device: str = "auto") -> None:
        self.text_folder, folder = model_folder(text), model_folder(vision)
        self._tokenizer = load_processor("AutoTokenizer", self.text_folder)
        self._clip = load_model(
            "CLIPVisionModel", folder, device=choose_device(device), dtype="float32"
        ).requires_grad_(False)
        self._prepare = load_processor("CLIPImageProcessor", folder)
        self.vision_dim = int(self._clip.config.hidden_size)
        self.about = (
            f"texts by '{self.text_folder.name}' {fingerprint(self.text_folder)} and frames by '{folder.name}' "
            f"{fingerprint(folder)}"
        )

    def check(self, *, words: int, vision_dim: int) -> None:
        """Whether weights of these sizes can read what comes from here.

        Raises:
            CheckpointError: they cannot.
        """
        if len(self._tokenizer) > words or self.vision_dim != vision_dim:
            raise CheckpointError(
                f"the weights know {words} tokens and vision of {vision_dim} channels; '{self.text_folder.name}' has "
                f"{len(self._tokenizer)} tokens, the vision encoder {self.vision_dim} channels. Name the encoders that "
                "the weights were trained with (text_encoder=, vision_encoder=)."
            )

    def tokens(self, answers: Answers, *, most: int = MOST_TOKENS) -> tuple[list[int], list[int]]:
        """Token ids of A1 and A2, at most ``most`` each, the marks of beginning and end included."""
        first, second = (
            self._tokenizer(text, truncation=True, max_length=min(most, MOST_TOKENS))["input_ids"]
            for text in (answers.first, answers.second)
        )
        return list(first), list(second)

    @torch.no_grad()  # no inference mode: what is trained keeps these tokens for its gradients
    def seen(self, frames: Sequence[np.ndarray]) -> Tensor:
        """``(n, V, D) float32``: CLIP's tokens of frames ``(H, W, 3) uint8``."""
        pixels = self._prepare([np.ascontiguousarray(frame) for frame in frames], return_tensors="pt")["pixel_values"]
        return self._clip(pixel_values=pixels.to(self._clip.device)).last_hidden_state


def joined(vision: Tensor, pairs: Sequence[tuple[Sequence[int], Sequence[int]] | None]) -> Texts:
    """The texts of n frames on the device of their vision tokens ``(n, V, D)``.

    Args:
        pairs: of each frame the token ids of A1 and A2; ``None`` where its video has none: it gets one empty place, so
            that attention has somewhere to look, and is left out of the fusion.
    """
    rows = [[(pair or ((), ()))[i] for pair in pairs] for i in (0, 1)]
    longest = max(1, *(len(row) for each in rows for row in each))
    ids = torch.zeros(2, len(pairs), longest, dtype=torch.long)
    mask = torch.zeros(2, len(pairs), longest, dtype=torch.bool)
    mask[:, :, 0] = True
    for i, each in enumerate(rows):
        for n, row in enumerate(each):
            ids[i, n, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, n, : len(row)] = True
    there = torch.tensor([pair is not None for pair in pairs])
    return Texts(vision, *(each.to(vision.device) for each in (ids, mask, there)))


def bert_sizes(folder: str | Path) -> BertSizes:
    """The sizes that a folder's config.json states.

    Raises:
        CheckpointError: it is no BERT, or states no sizes.
    """
    path = model_folder(folder)
    config: dict[str, Any] = read_config(path)
    if config["model_type"] != "bert":
        raise CheckpointError(f"'{path}' holds a model of the type '{config['model_type']}'; texts are read by 'bert'.")
    try:
        return BertSizes(**{name: int(config.get(name, default)) for name, default in vars(BertSizes()).items()})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"'{path}': config.json states sizes that are no numbers: {error}.") from error


def bert_weights(folder: str | Path) -> dict[str, Tensor]:
    """A BERT's entries under our names; those of a cross-attention only where the folder has them."""
    model = load_model("BertModel", model_folder(folder), dtype="float32", unread=("*pooler*",))
    return {name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}
