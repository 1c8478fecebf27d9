"""The network: image encoder, identity bank, transformer and decoder, under the published names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...weights.checkpoint import load_into
from ...weights.unfilled import unfilled
from ..audio_insert import AudioInsert, AudioTokens
from .config import MAX_OBJECTS, PATCH_PX, AOTConfig
from .decoder import Decoder, Shortcuts
from .encoders import Maps, build_encoder
from .grid import Grid
from .layer import Memories
from .transformer import GatedTransformer, Transformer

CHANNELS = 256
INSERT = "audio_insert."  # what stands before an insert's names in a checkpoint


class Features(NamedTuple):
    """What frames give by themselves: ``(B, N, 256)`` tokens, the decoder's shortcuts, and their audio if it is used."""

    tokens: Tensor
    shortcuts: Shortcuts
    audio: AudioTokens | None = None

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height and width of the token grid."""
        return self.shortcuts.x16.shape[2], self.shortcuts.x16.shape[3]

    def rows(self, index: Tensor | slice) -> Features:
        """The features of some of the frames."""
        shortcuts = Shortcuts(*(x[index].contiguous(memory_format=torch.channels_last) for x in self.shortcuts))
        return Features(self.tokens[index], shortcuts, self.audio.rows(index) if self.audio else None)

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """The features of several batches as those of one."""
        if len(parts) == 1:
            return parts[0]
        tokens = torch.cat([part.tokens for part in parts])
        shortcuts = Shortcuts(*(torch.cat(xs) for xs in zip(*(part.shortcuts for part in parts), strict=True)))
        audio = [part.audio for part in parts if part.audio is not None]
        return cls(tokens, shortcuts, AudioTokens.join(audio) if audio else None)


class AOTNetwork(nn.Module):
    """One published model; its ``state_dict`` has the published names.

    Args:
        config: which.

    Attributes:
        audio_insert: puts each frame's audio into its maps and its identity; ``None`` (plain AOT) until it is set.
        level_widths: channels of the four maps that an insert sees.
        kept_elsewhere: how the names begin that are not trained, nor published with the network's weights.
        slow: how the names begin that know something before any training, and learn at a tenth of the rate.
    """

    kept_elsewhere: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()

    def __init__(self, config: AOTConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_insert: AudioInsert | None = None
        self.encoder, widths = build_encoder(config.encoder)
        self.level_widths = (*widths[:3], CHANNELS)
        self.encoder_projector = nn.Conv2d(widths[3], CHANNELS, 1)
        patch = PATCH_PX + config.align_corners
        self.patch_wise_id_bank = nn.Conv2d(
            MAX_OBJECTS + 1, CHANNELS, patch, stride=PATCH_PX, padding=PATCH_PX // 2 if config.align_corners else 0
        )
        self.LSTT: Transformer | GatedTransformer
        if config.gated:
            self.id_norm = nn.LayerNorm(CHANNELS)
            self.LSTT = GatedTransformer(config.num_layers)
            decoder_channels = 2 * CHANNELS
        else:
            self.LSTT = Transformer(config.num_layers)
            decoder_channels = (config.num_layers + 1) * CHANNELS
        self.decoder = Decoder(decoder_channels, widths[:3], align_corners=config.align_corners)

    def encode(self, image: Tensor, audio: AudioTokens | None = None) -> Features:
        """What the transformer and the decoder read of frames.

        Args:
            image: ``(B, 3, H, W)``, normalised.
            audio: of the same frames; needed if the network has an audio insert, and not looked at otherwise.
        """
        return self.hear(self.look(image), audio)

    def look(self, image: Tensor) -> Maps:
        """The part of :meth:`encode` that depends on the image alone: maps of strides 4, 8, 16 and, projected, 16."""
        x4, x8, x16, top = self.encoder(image)
        return x4, x8, x16, self.encoder_projector(top)

    def hear(self, maps: Maps, audio: AudioTokens | None = None) -> Features:
        """The rest of :meth:`encode`: the audio is inserted, the maps are adapted to transformer and decoder."""
        if self.audio_insert is None:
            audio = None
        else:
            assert audio is not None, "a network with an audio insert needs the audio of every frame"
            maps = self.audio_insert(maps, audio)
        return Features(Grid.as_tokens(maps[3]), self.decoder.adapt(*maps[:3]), audio)

    def identify(self, labels: Tensor, audio: AudioTokens | None = None, *, num_objects: int = MAX_OBJECTS) -> Tensor:
        """``(B, H, W) int64`` label maps to ``(B, N, 256)`` identities; values above ``num_objects`` are no label.

        Of the bank's eleven channels only those in use are computed: the others see nothing but zeros.
        """
        bank = self.patch_wise_id_bank
        known = torch.arange(num_objects + 1, device=labels.device)
        one_hot = (labels[:, None] == known[:, None, None]).to(bank.weight.dtype)
        weight = bank.weight[:, : num_objects + 1]
        identity = F.conv2d(one_hot, weight, bank.bias, bank.stride, bank.padding)
        if self.audio_insert is not None and audio is not None:
            identity = self.audio_insert.identify(identity, self._foreground(one_hot), audio)
        tokens = Grid.as_tokens(identity)
        return self.id_norm(tokens) if self.config.gated else tokens

    def _foreground(self, one_hot: Tensor) -> Tensor:
        """``(B, 1, h, w)``: 1 for the patches that hold a pixel of an object."""
        bank = self.patch_wise_id_bank
        assert not isinstance(bank.padding, str)
        objects = one_hot[:, 1:].amax(dim=1, keepdim=True)
        return F.max_pool2d(objects, bank.kernel_size, bank.stride, bank.padding)

    def propagate(
        self, features: Features, grid: Grid, *, memories: Sequence[Memories] | None, identity: Tensor | None = None
    ) -> tuple[Tensor, list]:
        """The decoder's tokens ``(B, N, D)`` and what each layer keeps of the frame."""
        return self.LSTT(features.tokens, grid, memories=memories, identity=identity)

    def decode(self, tokens: Tensor, features: Features, grid: Grid, *, num_objects: int = MAX_OBJECTS) -> Tensor:
        """``(B, 11, H / 4, W / 4) float32`` logits; those above ``num_objects`` may be left out (they are -1e10 then)."""
        return self.decoder(grid.as_map(tokens), features.shortcuts).float()

    def resize(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits bilinearly at another size, corners aligned as the model was trained."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.config.align_corners)

    @classmethod
    def from_state(cls, config: AOTConfig, state: Mapping[str, Tensor], *, what: str = "the checkpoint") -> AOTNetwork:
        """The network with published weights, or with weights trained here, which may hold an audio insert.

        Raises:
            CheckpointError: names that are missing, unknown or of another shape.
        """
        insert = {name.removeprefix(INSERT): value for name, value in state.items() if name.startswith(INSERT)}
        with unfilled():  # every number comes from the state: none is drawn before
            network = cls(config)
            if insert:
                network.audio_insert = AudioInsert.from_state(insert, network.level_widths)
        network.to_empty(device="cpu")
        # Constant index tables stand in Swin's files, and a token that no layer reads in AOT's.
        weights = {name: value for name, value in state.items() if not name.endswith("relative_position_index")}
        load_into(network, weights, what=what, drop=["LSTT.mask_token"])
        return network
