"""The networks that training begins with: from a checkpoint or from scratch, with an audio insert or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CoPropError
from ..layers.frozen_norm import FrozenBatchNorm
from ..propagators.aot.config import PATCH_PX, config_of
from ..propagators.aot.network import AOTNetwork
from ..propagators.aot.networks import network_class
from ..propagators.audio_insert import AudioInsert
from ..weights.checkpoint import read_state_dict

# What a pretrained encoder's stem and first stage are called: as published, they are not trained.
FIRST_STAGES = {
    "mobilenet_v2": tuple(f"encoder.features.{i}." for i in range(4)),
    "resnet50": ("encoder.conv1.", "encoder.layer1."),
    "swin_b": ("encoder.patch_embed.", "encoder.layers.0."),
    "lite0": ("encoder.",),
}


def starting_network(
    model: str,
    *,
    checkpoint: str | Path | Mapping[str, Tensor] | None = None,
    insert: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> AOTNetwork:
    """An AOT network to be trained.

    Args:
        model: a published model's name.
        checkpoint: its weights, with an insert or without; ``None``: random ones.
        insert: options of :class:`AudioInsert`. A new one changes nothing until it is trained; one that the
            checkpoint holds is trained on, and must be of this form.
        seed: of the random weights.

    Raises:
        CoPropError: unknown model, or an insert of another form.
        CheckpointError: weights that are unsafe, damaged or of another model.
    """
    config = config_of(model)
    if config.encoder == "lite0" and insert is not None and insert.get("identity"):
        raise CoPropError(
            f"{model} has no learned identities that the sound could enter; leave identity (--identity) out."
        )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if checkpoint is None:
            made = network_class(config)(config)
            network = made if made.kept_elsewhere else _random_network(made)  # the small one begins as matching
        else:
            state = checkpoint if isinstance(checkpoint, Mapping) else read_state_dict(checkpoint)
            what = "the state dict" if isinstance(checkpoint, Mapping) else f"'{checkpoint}'"
            network = network_class(config).from_state(config, state, what=what)
        if insert is not None:
            wanted = AudioInsert(network.level_widths, **insert)
            network.audio_insert = _same_form(network.audio_insert, wanted) or wanted
    return network


def freeze_first_stages(network: AOTNetwork) -> None:
    """The encoder's stem and stride-4 stage are not trained."""
    for name, parameter in network.named_parameters():
        if name.startswith(FIRST_STAGES[network.config.encoder]):
            parameter.requires_grad_(False)


def thaw_norms(module: nn.Module) -> None:
    """Replace every frozen batch norm by one that is trained, with the same numbers and under the same names.

    Its state dict has one entry more, ``num_batches_tracked``.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, FrozenBatchNorm):
            norm = nn.BatchNorm2d(len(child.weight), device=child.weight.device)
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, norm)
        else:
            thaw_norms(child)


def _same_form(found: AudioInsert | None, wanted: AudioInsert) -> AudioInsert | None:
    """The checkpoint's insert, if it has one and it is of the wanted form."""
    if found is None:
        return None
    forms = [
        {
            "heard": insert.heard,
            "audio_dim": insert.audio_dim,
            "context_frames": int(insert.context_frames),
            "levels": "all" if len(insert.levels) > 1 else "last",
            "identity": insert.identity is not None,
        }
        for insert in (found, wanted)
    ]
    if forms[0] != forms[1]:
        raise CoPropError(f"the checkpoint's audio insert is {forms[0]}, asked for is {forms[1]}; ask for the former.")
    return found


@torch.no_grad()
def _random_network(network: AOTNetwork) -> AOTNetwork:
    """Random weights that signals pass with about their size."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and not name.startswith("encoder.") and "relative_emb" not in name:
            nn.init.xavier_uniform_(parameter)
        elif parameter.ndim == 4 and name.startswith("encoder."):
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
    # A patch that an object fills has an identity of about unit numbers.
    nn.init.normal_(network.patch_wise_id_bank.weight, std=1 / PATCH_PX)
    return network
