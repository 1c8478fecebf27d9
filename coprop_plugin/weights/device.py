"""Where a network runs."""

from __future__ import annotations

import torch

from ..errors import CoPropError


def choose_device(device: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        CoPropError: a device that does not exist here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise CoPropError(f"unknown device '{device}'; write auto, cpu, cuda or cuda:0.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise CoPropError(f"the device '{device}' was asked for, but torch sees no GPU here; use device=cpu (or auto).")
    return chosen
