"""The small network of the family that is trained here, on a frozen EfficientNet-lite0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import CheckpointError
from ...weights.checkpoint import load_into
from ..audio_insert import AudioInsert, AudioTokens
from .by_match import MatchingStack, values_of
from .config import MAX_OBJECTS, AOTConfig
from .encoders import Maps
from .encoders.lite0 import Lite0
from .grid import Grid
from .network import INSERT, AOTNetwork, Features
from .shared_decoder import SharedDecoder

ENCODER = "encoder."


class LiteNetwork(AOTNetwork):
    """AOT's recurrence with matching in place of its attentions and one decoder for all objects.

    Objects are told apart by their labels alone, not by learned identities, and every weight is shared among them:
    so few thousand sequences are enough. Its ``state_dict`` but for the encoder is what is published of it.

    Args:
        config: of the encoder ``lite0``.
        encoder: filled with its weights; by default from the installed package.
    """

    kept_elsewhere = (ENCODER,)
    slow = ("encoder_projector.", "LSTT.")

    def __init__(self, config: AOTConfig, encoder: Lite0 | None = None) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.audio_insert = None
        self.encoder = encoder or Lite0.load()
        w4, w8, w16, top = Lite0.widths
        joined = w8 + w16 + top
        self.level_widths = (w4, w8, w16, joined)
        self.encoder_projector = nn.Conv2d(joined, joined, 1, bias=False)
        nn.init.dirac_(self.encoder_projector.weight)
        self.patch_wise_id_bank = nn.Identity()  # type: ignore[assignment]  # labels are identities: nothing is learned
        self.LSTT = MatchingStack(joined)  # type: ignore[assignment]
        self.decoder = SharedDecoder((w4, w8, w16 + joined))  # type: ignore[assignment]

    def look(self, image: Tensor) -> Maps:
        x4, x8, x16, top = self.encoder(image)
        joined = torch.cat([F.normalize(x, dim=1) for x in (x8, x16, top)], dim=1)
        return x4, x8, x16, self.encoder_projector(joined)

    def hear(self, maps: Maps, audio: AudioTokens | None = None) -> Features:
        if self.audio_insert is None:
            audio = None
        else:
            assert audio is not None, "a network with an audio insert needs the audio of every frame"
            maps = self.audio_insert(maps, audio)
        x4, x8, x16, top = maps
        return Features(Grid.as_tokens(top), self.decoder.adapt(x4, x8, torch.cat([x16, top], dim=1)), audio)

    def identify(self, labels: Tensor, audio: AudioTokens | None = None, *, num_objects: int = MAX_OBJECTS) -> Tensor:
        return values_of(labels, num_objects=num_objects)

    def decode(self, tokens: Tensor, features: Features, grid: Grid, *, num_objects: int = MAX_OBJECTS) -> Tensor:
        return self.decoder(grid.as_map(tokens), features.shortcuts, num_objects=num_objects).float()

    @classmethod
    def from_state(
        cls,
        config: AOTConfig,
        state: Mapping[str, Tensor],
        *,
        what: str = "the checkpoint",
        encoder_weights: str | Path | None = None,
    ) -> LiteNetwork:
        """The network with trained weights, on its encoder's own.

        Raises:
            CheckpointError: names that are missing, unknown or of another shape.
            CoPropError: the encoder's weights are not there.
        """
        insert = {name.removeprefix(INSERT): value for name, value in state.items() if name.startswith(INSERT)}
        if any(name.startswith(ENCODER) for name in state):
            raise CheckpointError(
                f"{what} holds an encoder; {config.name} takes EfficientNet-lite0's own weights beside those trained on it. "
                "Give a file of `coprop train propagator --model aot_lite0`."
            )
        if INSERT + "identity.weight" in state:
            raise CheckpointError(f"{what}: the audio insert enters identities, of which {config.name} has none.")
        network = cls(config, Lite0.load(encoder_weights))
        if insert:
            network.audio_insert = AudioInsert.from_state(insert, network.level_widths)
        own = {ENCODER + name: value for name, value in network.encoder.state_dict().items()}
        given = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        load_into(network, {**own, **given}, what=what)
        return network
