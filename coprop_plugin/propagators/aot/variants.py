"""The published layouts of AOT and DeAOT."""

from __future__ import annotations

from ...weights.variants import Variant
from .config import MODELS, AOTConfig
from .network import AOTNetwork


def _variant(config: AOTConfig) -> Variant:
    unused = ("LSTT.mask_token", "*.relative_position_index")
    return Variant(config.name, config.name, lambda _: AOTNetwork(config), unused, marks="patch_wise_id_bank.weight")


VARIANTS = tuple(map(_variant, MODELS.values()))
