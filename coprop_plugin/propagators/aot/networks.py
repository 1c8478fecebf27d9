"""Which class a configuration's network is of."""

from __future__ import annotations

from .config import AOTConfig
from .network import AOTNetwork


def network_class(config: AOTConfig) -> type[AOTNetwork]:
    """The published form, or the small one on EfficientNet-lite0."""
    if config.encoder == "lite0":
        from .lite_network import LiteNetwork

        return LiteNetwork
    return AOTNetwork
