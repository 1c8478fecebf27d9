"""The family's attentions where queries and keys are an ImageNet network's features: before any training, matching.

Labels are their own identities: a token's value is how much of each quarter of its cell every object covers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MAX_OBJECTS
from .grid import Grid
from .layer import Current, Entry, Memories
from .transformer import Stack

STRIDE_PX = 8  # one token stands for this many pixels a side
QUARTERS = 4  # labels of a token: of each quarter of its cell
REACH_CELLS = 12  # how far from its place a token looks in the last frame
TOP_K = 10  # matches that vote
CANDIDATES = 16  # cells of four tokens that are looked at closely, where nothing is learned
SHARPNESS = 20.0  # of the softmax over cosines, before training


def values_of(labels: Tensor, *, num_objects: int = MAX_OBJECTS) -> Tensor:
    """``(B, H, W) int64`` label maps to ``(B, N, 11 * 4)``: each label's share of each quarter of a cell."""
    known = torch.arange(MAX_OBJECTS + 1, device=labels.device)
    known = known.masked_fill(known > num_objects, -2)  # no label, and not IGNORE
    one_hot = (labels[:, None] == known[:, None, None]).float()
    return Grid.as_tokens(F.pixel_unshuffle(F.avg_pool2d(one_hot, STRIDE_PX // 2), 2))


class MatchingLayer(nn.Module):
    """Long- and short-term attention of one head, each over its ``TOP_K`` best matches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear_Q = nn.Linear(channels, channels, bias=False)
        nn.init.eye_(self.linear_Q.weight)
        self.log_sharpness = nn.Parameter(torch.full((2,), math.log(SHARPNESS)))

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Memories | None, identity: Tensor | None = None
    ) -> tuple[Tensor, Current]:
        """``(B, N, C)`` tokens to ``(B, N, 3 * 44 + 2)``, and what to keep of the frame.

        These are the labels by both attentions together, by the long- and by the short-term one, and the best cosine
        of each. Without memories (a reference frame) the layer reads its own entry, made with ``identity``.
        """
        keys = F.normalize(self.linear_Q(tokens), dim=-1)
        current = Current(keys, keys)
        if memories is None:
            assert identity is not None
            own = self.remember(current, identity)
            memories = Memories(own, own)
        sharp_long, sharp_short = self.log_sharpness.exp()
        if torch.is_grad_enabled() or grid.height % 2 or grid.width % 2:
            far = too_far(grid.height, grid.width, REACH_CELLS, str(tokens.device))
            long, weight_long, best_long = read(keys, memories.long, sharpness=sharp_long)
            short, weight_short, best_short = read(keys, memories.short, sharpness=sharp_short, far=far)
        else:
            far = too_far(grid.height // 2, grid.width // 2, REACH_CELLS // 2, str(tokens.device))
            long, weight_long, best_long = read_closely(keys, memories.long, grid, sharpness=sharp_long)
            short, weight_short, best_short = read_closely(keys, memories.short, grid, sharpness=sharp_short, far=far)
        share = torch.sigmoid(weight_long - weight_short)[..., None]
        both = share * long + (1 - share) * short
        return torch.cat([both, long, short, best_long[..., None], best_short[..., None]], dim=-1), current

    def remember(self, current: Current, identity: Tensor) -> Entry:
        """The memory entry of a frame and its ``(B, N, 44)`` labels."""
        return Entry(current.keys, identity)


class MatchingStack(Stack):
    """One such layer, in the form of the family's stacks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([MatchingLayer(channels)])

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Sequence[Memories] | None, identity: Tensor | None = None
    ) -> tuple[Tensor, list[Current]]:
        """As :meth:`coprop_plugin.propagators.aot.transformer.Transformer.forward`."""
        read_of, current = self.layers[0](tokens, grid, memories=memories[0] if memories else None, identity=identity)
        return read_of, [current]


def read(query: Tensor, entry: Entry, *, sharpness: Tensor, far: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(B, N, D)`` values by the best matches, the ``(B, N)`` log weight of all of them, and the best cosine.

    Args:
        query: ``(B, N, C)`` unit features.
        far: ``(N, M) bool``: pairs that are not to be matched.
    """
    cosines = query @ entry.keys.transpose(1, 2)
    if far is not None:
        cosines = cosines.masked_fill(far, -2.0)
    best, place = cosines.topk(min(TOP_K, cosines.shape[2]), dim=2, sorted=False)
    logits = sharpness * best
    weights = logits.softmax(dim=2)
    rows = torch.arange(len(query), device=query.device)[:, None, None]
    voted = (weights[:, :, None] @ entry.values[rows, place])[:, :, 0]
    return voted, logits.logsumexp(dim=2), best.amax(dim=2)


def read_closely(
    query: Tensor, entry: Entry, grid: Grid, *, sharpness: Tensor, far: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`read`, from coarse to fine: of the ``CANDIDATES`` squares of four tokens that look most like a square.

    Args:
        grid: with an even number of tokens along both axes.
        far: ``(N / 4, N / 4) bool``, of squares.
    """
    found = []
    for row in range(len(query)):  # one sequence at a time: what is looked at closely is copied
        own, keys, values = (_squares(x[row], grid) for x in (query, entry.keys, entry.values))
        coarse = F.normalize(own.mean(dim=1), dim=1) @ F.normalize(keys.mean(dim=1), dim=1).T
        if far is not None:
            coarse = coarse.masked_fill(far, -2.0)
        likeness, chosen = coarse.topk(min(CANDIDATES, coarse.shape[1]), dim=1, sorted=False)
        cosines = own @ keys[chosen].flatten(1, 2).transpose(1, 2)  # (N / 4, 4, 4 * CANDIDATES)
        cosines = cosines.masked_fill((likeness == -2.0).repeat_interleave(4, dim=1)[:, None], -2.0)
        best, place = cosines.topk(min(TOP_K, cosines.shape[2]), dim=2, sorted=False)
        logits = sharpness * best
        votes = torch.zeros_like(cosines).scatter_(2, place, logits.softmax(dim=2))
        voted = votes @ values[chosen].flatten(1, 2)
        answers = (voted, logits.logsumexp(dim=2)[..., None], best.amax(dim=2)[..., None])
        found.append(tuple(_tokens(answer, grid) for answer in answers))
    voted, weight, best = (torch.stack(parts) for parts in zip(*found, strict=True))
    return voted, weight[..., 0], best[..., 0]


def _squares(tokens: Tensor, grid: Grid) -> Tensor:
    """``(frames * N, C)`` tokens as ``(frames * N / 4, 4, C)``, in squares of two by two."""
    squares = tokens.view(-1, grid.height // 2, 2, grid.width // 2, 2, tokens.shape[1]).transpose(2, 3)
    return squares.reshape(-1, 4, tokens.shape[1])


def _tokens(squares: Tensor, grid: Grid) -> Tensor:
    """Undoes :func:`_squares`."""
    tokens = squares.view(-1, grid.height // 2, grid.width // 2, 2, 2, squares.shape[2]).transpose(2, 3)
    return tokens.reshape(-1, squares.shape[2])


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def too_far(height: int, width: int, reach: int, device: str) -> Tensor:
    """``(N, N) bool``: pairs of places further apart than the reach, along either axis."""
    y, x = (torch.arange(n, device=device) for n in (height, width))
    down, right = ((a[:, None] - a).abs() > reach for a in (y, x))
    return (down[:, None, :, None] | right[None, :, None, :]).flatten(2).flatten(0, 1)
