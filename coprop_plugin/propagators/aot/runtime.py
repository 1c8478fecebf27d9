"""How a network runs: precision, folding, compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from ...errors import unknown_name
from ...layers.frozen_norm import fold_norms
from .network import AOTNetwork

Precision = Literal["float32", "bfloat16", "float16"]
COMPILER = "inductor"


def check_precision(precision: str) -> Precision:
    """The precision, if it is one.

    Raises:
        CoPropError: it is none.
    """
    if precision not in get_args(Precision):
        raise unknown_name("precision", precision, get_args(Precision))
    return precision  # type: ignore[return-value]


def prepare(network: AOTNetwork, device: torch.device, *, compile_network: bool = False) -> AOTNetwork:
    """The network made ready for inference, in place: norms folded, channels-last, on its device."""
    fold_norms(network.eval().requires_grad_(False))
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile_network:
        for part in (network.encoder, network.LSTT, network.decoder):
            part.compile(backend=COMPILER)  # a dimension that turns out to change is compiled once more, for all sizes
    return network


@contextmanager
def inference(device: torch.device, precision: Precision) -> Iterator[None]:
    """No gradients; in a half precision the products and convolutions are autocast, logits stay float32."""
    with torch.inference_mode():
        if precision == "float32":
            yield
        else:
            with torch.autocast(device.type, dtype=getattr(torch, precision)):
                yield
