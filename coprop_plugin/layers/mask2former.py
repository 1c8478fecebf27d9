"""What models built on Mask2Former share, whatever their entries are called (Cheng et al., 2022).

A pixel decoder (deformable attention over strides 32, 16 and 8, one level more by a feature pyramid), attention of
queries to the pixels of their own last masks, and scores from queries' classes and masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend
from .deformable import token_centres
from .positions import sine_position

CHANNELS = 256
HEADS = 8
LABEL_PX = 224  # AVS models built on it give their scores at this height and width

Pixelwise = Callable[[Tensor], Tensor]


class Output(NamedTuple):
    """Class logits ``(N, Q, classes + 1)`` (last: no object) and mask logits ``(N, Q, H/4, W/4)``."""

    classes: Tensor
    masks: Tensor


def decode_pixels(
    maps: Sequence[Tensor],
    *,
    projections: Iterable[Pixelwise],
    level_embed: Tensor,
    layers: Iterable[nn.Module],
    lateral: Pixelwise,
    smooth: Pixelwise,
    mask_features: Pixelwise,
) -> tuple[list[Tensor], Tensor]:
    """Four backbone maps, finest first, to features at strides 32, 16, 8 and mask features at stride 4.

    Args:
        projections: of the maps of strides 32, 16 and 8, to 256 channels.
        level_embed: ``(3, 256)``, added to the positions of each level.
        layers: of the encoder, each called with tokens, positions, sizes of the levels and token centres.
        lateral: of the finest map, to 256 channels; the next level is added to it, enlarged.
        smooth: of that sum, before its ReLU.
        mask_features: of what the ReLU left.
    """
    levels = [project(x) for project, x in zip(projections, maps[:0:-1], strict=True)]
    sizes = [(x.shape[2], x.shape[3]) for x in levels]
    device = maps[0].device
    channels = level_embed.shape[1]
    codes = (sine_position(*size, normalised=True, device=device, channels=channels) for size in sizes)
    position = torch.cat([code + embed for code, embed in zip(codes, level_embed, strict=True)])
    x = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
    centres = token_centres(sizes, device=device)
    for layer in layers:
        x = layer(x, position, sizes, centres)
    pieces = x.transpose(1, 2).split([h * w for h, w in sizes], dim=-1)
    levels = [piece.unflatten(-1, size) for piece, size in zip(pieces, sizes, strict=True)]
    fine = lateral(maps[0]) + resize(levels[-1], maps[0].shape[2:])
    return levels, mask_features(F.relu(smooth(fine)))


def level_values(levels: Sequence[Tensor], embeds: Tensor) -> list[Tensor]:
    """``(N, h * w, 256)`` for each level ``(N, 256, h, w)``: its tokens with the level's embedding added."""
    return [level.flatten(2).transpose(1, 2) + embed for level, embed in zip(levels, embeds, strict=True)]


def blocked_keys(masks: Tensor, size: Sequence[int], *, logits: bool = True) -> Tensor:
    """``(N, Q, h * w) bool``: where queries do not look, outside their masks ``(N, Q, H, W)``.

    A query that may look nowhere looks everywhere. ``logits=False``: the masks are probabilities.
    """
    small = resize(masks, size)
    blocked = ((small.sigmoid() if logits else small) < 0.5).flatten(2)
    return blocked & ~blocked.all(-1, keepdim=True)


def look(attention: nn.MultiheadAttention, x: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None) -> Tensor:
    """What queries ``x (N, Q, C)`` take from the values of keys that are not blocked."""
    if blocked is None:
        return attend(attention, x, keys, values)
    blocked = blocked.repeat_interleave(attention.num_heads, dim=0)
    return attention(x, keys, values, attn_mask=blocked, need_weights=False)[0]


def mask_logits(embedded: Tensor, features: Tensor) -> Tensor:
    """``(N, Q, h, w)``: embedded queries ``(N, Q, C)`` times the mask features ``(N, C, h, w)`` of every pixel."""
    return torch.einsum("nqc,nchw->nqhw", embedded, features)


def class_scores(output: Output, size: Sequence[int]) -> Tensor:
    """``(N, classes, 224, 224)``: queries' class probabilities times their mask probabilities, summed over queries.

    "No object" is left out and queries add up, so the scores are no probability; the label is their argmax.

    Args:
        size: height and width that mask logits are enlarged to before they become probabilities.
    """
    masks = resize(output.masks, size).sigmoid()
    scores = torch.einsum("nqc,nqhw->nchw", output.classes.softmax(-1)[..., :-1], masks)
    return resize(scores, (LABEL_PX, LABEL_PX))


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear")
