"""The stack of propagation layers (the published LSTT: long short-term transformer)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .gated_layer import GatedCurrent, GatedLayer
from .grid import Grid
from .layer import Current, Entry, Memories, PropagationLayer


class Stack(nn.Module):
    """Layers, each with a memory of its own."""

    layers: nn.ModuleList

    def remember(self, kept: Sequence[Current] | Sequence[GatedCurrent], identity: Tensor) -> list[Entry]:
        """Each layer's memory entry of a frame, now that its identity is known."""
        pairs = zip(self.layers, kept, strict=True)
        return [layer.remember(current, identity) for layer, current in pairs]  # type: ignore[operator]


class Transformer(Stack):
    """AOT's stack: the decoder reads every layer's output, normed."""

    def __init__(self, num_layers: int, channels: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PropagationLayer(channels) for _ in range(num_layers))
        self.decoder_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(num_layers))

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Sequence[Memories] | None, identity: Tensor | None = None
    ) -> tuple[Tensor, list[Current]]:
        """``(B, N, 256)`` image tokens to the decoder's ``(B, N, 256 * (layers + 1))``, and what to keep of the frame.

        Args:
            memories: one per layer, or ``None`` on a reference frame, whose ``identity`` is then given.
        """
        outputs, kept = [tokens], []
        for index, layer in enumerate(self.layers):
            tokens, current = layer(tokens, grid, memories=memories[index] if memories else None, identity=identity)
            outputs.append(self.decoder_norms[index](tokens))
            kept.append(current)
        return torch.cat(outputs, dim=-1), kept


class GatedTransformer(Stack):
    """DeAOT's stack: the decoder reads both streams of the last layer, normed."""

    def __init__(self, num_layers: int, channels: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GatedLayer(channels, first=index == 0) for index in range(num_layers))
        self.decoder_norms = nn.ModuleList([StreamNorm(channels)])

    def forward(
        self, tokens: Tensor, grid: Grid, *, memories: Sequence[Memories] | None, identity: Tensor | None = None
    ) -> tuple[Tensor, list[GatedCurrent]]:
        """As :meth:`Transformer.forward`; the decoder's tokens are ``(B, N, 512)``."""
        streams, kept = torch.cat([tokens, torch.zeros_like(tokens)], dim=-1), []
        for index, layer in enumerate(self.layers):
            streams, current = layer(streams, grid, memories=memories[index] if memories else None, identity=identity)
            kept.append(current)
        return self.decoder_norms[0](streams), kept


class StreamNorm(nn.Module):
    """Group norm with one group a stream, over its channels and all tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(2, 2 * channels)

    def forward(self, streams: Tensor) -> Tensor:
        return self.gn(streams.transpose(1, 2)).transpose(1, 2)
