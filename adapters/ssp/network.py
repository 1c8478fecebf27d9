"""SSP's network: AAVS, whose image is weighed by the pre-mask and whose mask features are fused with two texts.

The entries of a state dict are AAVS's, and beside them ``pre_masked`` (whether it was trained on weighed images),
``align.*`` and ``fusion.*`` (texts, if it was trained with any).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ...layers.mask2former import Output
from ..aavs.network import Aavs, AavsConfig, config_of as aavs_config_of, last_of
from .align import Fusion, PlainAttention, TextConfig, Texts, Vta
from .bert import BertSizes

PRE_MASKED = "pre_masked"
FUSED = "fusion.gate"


@dataclass(frozen=True)
class SspConfig:
    """AAVS's sizes, and those of the texts' alignment if there is any."""

    aavs: AavsConfig
    text: TextConfig | None = None


class Ssp(Aavs):
    """Frames, sound, and what SSP adds: each of its parts may be left out, and then it is AAVS."""

    def __init__(self, config: SspConfig) -> None:
        super().__init__(config.aavs)
        self.ssp_config = config
        self.register_buffer(PRE_MASKED, torch.zeros(1, dtype=torch.uint8))
        self.align: nn.Module | None = None
        self.fusion: nn.Module | None = None
        if config.text is not None:
            aligned, channels = Vta if config.text.kind == "vta" else PlainAttention, config.aavs.channels
            self.align = aligned(config.text, channels)
            self.fusion = Fusion(config.text.norm, channels)

    @property
    def was_pre_masked(self) -> bool:
        """Whether it was trained on images weighed by pre-masks."""
        return bool(cast("Tensor", self.pre_masked).item())

    def forward(
        self,
        frames: Tensor,
        audio: Tensor,
        *,
        boost: Tensor | None = None,
        pre_mask: Tensor | None = None,
        texts: Texts | None = None,
    ) -> Output:
        """As :class:`Aavs`; ``pre_mask (N, H, W)`` in [0, 1] is multiplied to the normalised frames."""
        return last_of(self.outputs(frames, audio, boost=boost, pre_mask=pre_mask, texts=texts))

    def outputs(
        self,
        frames: Tensor,
        audio: Tensor,
        *,
        boost: Tensor | None = None,
        pre_mask: Tensor | None = None,
        texts: Texts | None = None,
    ) -> Iterator[Output]:
        """The outputs before the decoder's first layer and after each (training asks all of them)."""
        if pre_mask is not None:
            frames = frames * pre_mask[:, None].to(frames.dtype)  # 0 then is ImageNet's mean colour
        levels, features, mask = self.look(frames, boost)
        if texts is not None and self.align is not None and self.fusion is not None:
            aligned = sum(
                self.align(texts.vision, ids, there) for ids, there in zip(texts.ids, texts.mask, strict=True)
            )
            features = self.fusion(features, aligned, texts.there)
        return self.decide(levels, features, mask, audio)


def config_of(state: Mapping[str, Tensor], published: AavsConfig) -> SspConfig:
    """The sizes of the model that a state dict holds."""
    return SspConfig(aavs_config_of(state, published), _text_config_of(state))


def _text_config_of(state: Mapping[str, Tensor]) -> TextConfig | None:
    if FUSED not in state:
        return None
    kind = "attention" if "align.attention.in_proj_weight" in state else "vta"
    text = "align." if kind == "attention" else "align.text."
    layers = f"{text}encoder.layer.{{}}.intermediate.dense.weight"
    try:
        words = state[f"{text}embeddings.word_embeddings.weight"]
        heads = state.get(f"{text}heads")
        return TextConfig(
            BertSizes(
                vocab_size=len(words),
                hidden_size=words.shape[1],
                num_hidden_layers=next(i for i in itertools.count() if layers.format(i) not in state),
                # without numbers (names and shapes alone) any count of heads has the same shapes
                num_attention_heads=1 if heads is None or heads.is_meta else int(heads[0]),
                intermediate_size=len(state[layers.format(0)]) if layers.format(0) in state else 1,
                max_position_embeddings=len(state[f"{text}embeddings.position_embeddings.weight"]),
                type_vocab_size=len(state[f"{text}embeddings.token_type_embeddings.weight"]),
            ),
            vision_dim=state["align.v_mlp.0.weight"].shape[1],
            kind=kind,  # type: ignore[arg-type]
            norm="layer" if "fusion.norm.weight" in state else "l2",
        )
    except (KeyError, IndexError, TypeError):
        return TextConfig()


def completed(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state dict of AAVS as one of SSP without its parts; others as they are."""
    return state if PRE_MASKED in state else {**state, PRE_MASKED: torch.zeros(1, dtype=torch.uint8)}
