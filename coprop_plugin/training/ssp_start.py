"""The networks that SSP's training begins with: from AAVS, from SSP, from Mask2Former on Swin, or from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.aavs.network import STAGE_1, STAGE_2, AavsConfig, config_of
from ..adapters.ssp.align import TextConfig
from ..adapters.ssp.encoders import bert_weights
from ..adapters.ssp.network import FUSED, Ssp, SspConfig
from ..errors import CheckpointError
from ..weights.checkpoint import read_state_dict

LEAST_SHARED = 0.5  # of the network's entries: less is a file of something else
SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "depths": (2, 2, 2, 2),
    "heads": (1, 2, 4, 8),
    "window": 4,
    "encoder_layers": 2,
    "encoder_hidden": 256,
    "decoder_layers": 3,
    "decoder_hidden": 256,
    "channels": 64,
}  # for trials on a CPU


def starting_ssp(
    stage: int,
    *,
    checkpoint: str | Path | Mapping[str, Tensor] | None = None,
    sizes: AavsConfig | None = None,
    text: TextConfig | None = None,
    text_encoder: str | Path | None = None,
    gate: float | None = None,
    seed: int = 0,
) -> tuple[Ssp, int]:
    """An SSP to be trained, and how many of its entries came from the checkpoint.

    Args:
        stage: 1 (binary) or 2 (semantic).
        checkpoint: of AAVS or SSP, or Mask2Former's own (whose names lack the first ``model.``); entries of other names
            or shapes, the heads of other classes above all, begin at random. ``None``: all do.
        sizes: of the network where there is no checkpoint; published ones by default.
        text: sizes of the texts' alignment; ``None`` trains without texts.
        text_encoder: folder whose BERT weights the alignment begins with; ``None``: random ones.
        gate: how far texts are let in at the start: 0 begins as AAVS, 1 is Eq. (3) at once; by default 0 on a
            checkpoint and 1 without.
        seed: of the random weights.

    Raises:
        CheckpointError: a file that shares less than half of the entries, or is unsafe or damaged.
    """
    published = STAGE_1 if stage == 1 else STAGE_2
    state: Mapping[str, Tensor] = {}
    if checkpoint is not None:
        state = checkpoint if isinstance(checkpoint, Mapping) else read_state_dict(checkpoint)
        if not any(name.startswith("model.model.") for name in state):
            state = {f"model.{name}": value for name, value in state.items()}
        found = config_of(state, published)
        sizes = replace(found, queries=published.queries, classes=published.classes)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = Ssp(SspConfig(sizes or published, text))
        _spread(network)
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if state and len(fitting) < LEAST_SHARED * sum(not name.startswith(("align.", "fusion.")) for name in own):
        raise CheckpointError(
            f"the checkpoint shares {len(fitting)} of {len(own)} entries with SSP of stage {stage}; give weights of AAVS, "
            "of SSP, or of Mask2Former on Swin in transformers' published names."
        )
    if text is not None and text.kind == "vta" and text_encoder is not None:
        words = {f"align.text.{name}": value for name, value in bert_weights(text_encoder).items()}
        fitting = {**{n: v for n, v in words.items() if n in own and own[n].shape == v.shape}, **fitting}
    network.load_state_dict({**own, **fitting})
    if text is not None and FUSED not in state:
        with torch.no_grad():
            network.get_parameter(FUSED).fill_(gate if gate is not None else float(checkpoint is None))
    return network, len(fitting)


@torch.no_grad()
def _spread(network: Ssp) -> None:
    """Starts that a network without weights learns from: deformable points on a ring, Swin's adapters at nothing."""
    for name, module in network.named_modules():
        if name.endswith("sampling_offsets") and isinstance(module, nn.Linear):
            module.weight.zero_()
            module.bias.copy_(_ring(len(module.bias)))
        elif name.endswith("attention_weights") and isinstance(module, nn.Linear):
            module.weight.zero_()
            module.bias.zero_()
        elif name.rpartition(".")[2] in ("swin_adapt_1", "swin_adapt_3"):
            last = module.get_submodule("2")
            assert isinstance(last, nn.Linear)
            last.weight.zero_()
            last.bias.zero_()
        elif isinstance(module, nn.Embedding) and name.startswith("align."):
            module.weight.mul_(0.02)  # as BERT begins


def _ring(count: int, heads: int = 8, levels: int = 3, points: int = 4) -> Tensor:
    """Deformable DETR's start: each head looks in a direction of its own, each point one pixel farther."""
    angles = torch.arange(heads) * (2 * torch.pi / heads)
    ways = torch.stack([angles.cos(), angles.sin()], dim=-1)
    ways = ways / ways.abs().max(dim=-1, keepdim=True).values
    ring = ways[:, None, None] * (torch.arange(points) + 1)[:, None] * torch.ones(heads, levels, points, 2)
    assert ring.numel() == count
    return ring.flatten()
