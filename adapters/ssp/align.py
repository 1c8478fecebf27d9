"""Visual-textual alignment (SSP, Algorithm 1), plain cross-attention in its place, and the fusion (Eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import unknown_name
from ...layers.mask2former import CHANNELS
from .bert import Bert, BertSizes, Embeddings

AlignKind = Literal["vta", "attention"]
Norm = Literal["layer", "l2"]


@dataclass(frozen=True)
class TextConfig:
    """How texts are aligned and fused.

    Attributes:
        bert: sizes of the text encoder.
        vision_dim: channels of the frozen CLIP's tokens.
        kind: ``vta``, or ``attention``: one plain cross-attention ("w/o VTA" in the paper's Table 2).
        norm: of Eq. (3): layer norm over channels, or literally to unit length.
    """

    bert: BertSizes = field(default_factory=BertSizes)
    vision_dim: int = 768
    kind: AlignKind = "vta"
    norm: Norm = "layer"

    def __post_init__(self) -> None:
        for what, given, allowed in (("alignment", self.kind, AlignKind), ("norm of the fusion", self.norm, Norm)):
            if given not in get_args(allowed):
                raise unknown_name(what, given, get_args(allowed))


class Texts(NamedTuple):
    """The two answers that go with n frames.

    Attributes:
        vision: ``(n, V, D)`` tokens of the frozen CLIP.
        ids, mask: ``(2, n, L)`` token ids of A1 and A2, and where there are any.
        there: ``(n,) bool``, whether a frame's video has answers at all.
    """

    vision: Tensor
    ids: Tensor
    mask: Tensor
    there: Tensor


def perceptron(in_size: int, hidden: int, out_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_size, hidden), nn.GELU(), nn.Linear(hidden, out_size))


class Vta(nn.Module):
    """Algorithm 1, for one answer: text and vision in one sequence, then the text again, looking at what came of it.

    The same BERT runs twice. In the first pass its input is text and vision under the joint mask, and it looks at the
    vision; in the second the input is the text, and it looks at the first pass's output under the joint mask.
    """

    def __init__(self, config: TextConfig, channels: int = CHANNELS) -> None:
        super().__init__()
        size = config.bert.hidden_size
        self.text = Bert(config.bert)
        self.v_mlp = perceptron(config.vision_dim, size, size)
        self.t_mlp = perceptron(size, size, size)
        self.out = perceptron(size, size, channels)

    def forward(self, vision: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """``(n, 256)`` of unit length from ``(n, V, D)`` vision tokens, ``(n, L)`` token ids and their mask."""
        seen = self.v_mlp(vision)  # line 4
        said = self.t_mlp(self.text.embeddings.word_embeddings(ids))  # line 5
        text_mask = mask.bool()
        seen_mask = torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device)
        unified = torch.cat([text_mask, seen_mask], dim=1)  # line 6
        places = torch.arange(ids.shape[1], device=ids.device)
        kinds = torch.zeros_like(places)
        none = torch.zeros(seen.shape[1], dtype=torch.long, device=ids.device)  # vision has no order: all at place 0
        joint = self.text(  # line 7
            torch.cat([said, seen], dim=1),
            unified,
            seen,
            seen_mask,
            places=torch.cat([places, none]),
            kinds=torch.cat([kinds, none + 1]),
        )
        aligned = self.text(said, text_mask, joint, unified, places=places, kinds=kinds)  # line 8
        return F.normalize(self.out(aligned[:, 0]), dim=-1)  # line 9


class PlainAttention(nn.Module):
    """The paper's comparison: the frame looks at the words once, by one attention without an encoder."""

    def __init__(self, config: TextConfig, channels: int = CHANNELS) -> None:
        super().__init__()
        size = config.bert.hidden_size
        self.embeddings = Embeddings(config.bert)
        self.v_mlp = perceptron(config.vision_dim, size, size)
        self.t_mlp = perceptron(size, size, size)
        self.attention = nn.MultiheadAttention(size, 1, batch_first=True)
        self.out = perceptron(size, size, channels)

    def forward(self, vision: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        seen = self.v_mlp(vision).mean(dim=1, keepdim=True)
        places = torch.arange(ids.shape[1], device=ids.device)
        said = self.embeddings(self.t_mlp(self.embeddings.word_embeddings(ids)), places, torch.zeros_like(places))
        found = self.attention(seen, said, said, key_padding_mask=~mask.bool(), need_weights=False)[0]
        return F.normalize(self.out(found[:, 0]), dim=-1)


class Fusion(nn.Module):
    """Eq. (3): ``Normalize(Z + Align_1 + Align_2)``, faded in by a gate.

    At a gate of 0 the features stay as they are, to the bit (so a start from AAVS *is* AAVS); at 1 it is the equation.
    """

    def __init__(self, norm: Norm, channels: int = CHANNELS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm == "layer" else None
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, aligned: Tensor, there: Tensor) -> Tensor:
        """``(n, 256, h, w)`` features, ``(n, 256)`` sums of both texts; frames whose video has none stay as they are."""
        summed = features + aligned[..., None, None]
        if self.norm is None:
            normed = F.normalize(summed, dim=1)
        else:
            normed = self.norm(summed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fused = torch.lerp(features, normed.to(features.dtype), self.gate.to(features.dtype))
        return torch.where(there[:, None, None, None], fused, features)
