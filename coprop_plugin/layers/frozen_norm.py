"""Batch norm whose statistics never change, and the removal of norms by folding them into the convolutions before them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class FrozenBatchNorm(nn.Module):
    """``weight * (x - mean) / sqrt(var + 1e-5) + bias`` per channel, all four of them buffers."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The norm as ``scale * x + shift``, each ``(C,)``."""
        scale = self.weight * torch.rsqrt(self.running_var + 1e-5)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None] + shift[:, None, None]


@torch.no_grad()
def fold_norms(module: nn.Module) -> None:
    """Fold every norm in inference form into the convolution that stands right before it; it becomes an identity.

    The outputs change by rounding only. A folded module no longer has the published names: fold after loading.
    """
    children = list(module.named_children())
    for (_, conv), (name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and conv.bias is None and (found := _scale_and_shift(norm)):
            scale, shift = found
            conv.weight.mul_(scale[:, None, None, None])
            conv.bias = nn.Parameter(shift.clone(), requires_grad=conv.weight.requires_grad)
            setattr(module, name, nn.Identity())
    for _, child in children:
        fold_norms(child)


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Of a norm that no longer follows its batches; ``None`` of anything else."""
    if isinstance(norm, FrozenBatchNorm):
        return norm.scale_and_shift()
    if isinstance(norm, nn.BatchNorm2d) and norm.affine and not norm.training and norm.running_mean is not None:
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return scale, norm.bias - norm.running_mean * scale
    return None
