"""AAVS: Mask2Former on Swin-B with sound in its queries, stage 1 (is it sounding?) and stage 2 (what is it?).

Ma et al., "Stepping Stones: A Progressive Training Strategy for Audio-Visual Semantic Segmentation" (ECCV 2024);
names and arithmetic of the published repository (GeWu-Lab/Stepping-Stones), built here without its copy of
transformers.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.mask2former import CHANNELS, Output
from .pixel_decoder import AavsStage, PixelDecoder
from .swin import Swin
from .transformer import TransformerModule

POST_PX = 384  # masks are enlarged to this before the sigmoid, whatever the input's size


@dataclass(frozen=True)
class AavsConfig:
    """The published sizes; ``decoder_layers`` counts the transformer's layers (the published option counts one more)."""

    stage: AavsStage
    queries: int
    classes: int
    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    encoder_layers: int = 6
    encoder_hidden: int = 1024
    decoder_layers: int = 9
    decoder_hidden: int = 2048
    channels: int = CHANNELS


_MODEL = "model.model."
UNUSED = ("model.criterion.*", "*.attention.self.relative_position_index")  # the latter follows from the window
UNUSED_IN_STAGE_1 = (
    f"{_MODEL}pixel_level_module.decoder.encoder.layers.*.self_attn.output_proj.*",
    f"{_MODEL}transformer_module.decoder.layers.*.self_attn.out_proj.*",
)
STAGE_1 = AavsConfig(stage=1, queries=30, classes=2)
STAGE_2 = AavsConfig(stage=2, queries=100, classes=71)


def config_of(state: Mapping[str, Tensor], published: AavsConfig) -> AavsConfig:
    """The sizes of the model that a state dict holds; the published ones where it is no AAVS model."""
    swin = f"{_MODEL}pixel_level_module.encoder"
    encoder, decoder = f"{_MODEL}pixel_level_module.decoder.encoder", f"{_MODEL}transformer_module.decoder"

    def count(form: str) -> int:
        return next(i for i in itertools.count() if form.format(i) not in state)

    depths = [count(f"{swin}.encoder.layers.{i}.blocks.{{}}.layernorm_before.weight") for i in range(4)]
    tables = f"{swin}.encoder.layers.{{}}.blocks.0.attention.self.relative_position_bias_table"
    try:
        return AavsConfig(
            stage=published.stage,
            queries=len(state[f"{_MODEL}transformer_module.queries_embedder.weight"]),
            classes=len(state["model.class_predictor.bias"]) - 1,
            embed_dim=len(state[f"{swin}.embeddings.norm.bias"]),
            depths=tuple(depths),
            heads=tuple(state[tables.format(i)].shape[1] for i in range(4)),
            window=(math.isqrt(len(state[tables.format(0)])) + 1) // 2,
            encoder_layers=count(f"{encoder}.layers.{{}}.fc1.bias"),
            encoder_hidden=len(state[f"{encoder}.layers.0.fc1.bias"]),
            decoder_layers=count(f"{decoder}.layers.{{}}.fc1.bias"),
            decoder_hidden=len(state[f"{decoder}.layers.0.fc1.bias"]),
            channels=state["model.class_predictor.weight"].shape[1],
        )
    except (KeyError, IndexError, TypeError):
        return published


class PixelLevelModule(nn.Module):
    def __init__(self, config: AavsConfig) -> None:
        super().__init__()
        self.encoder = Swin(embed_dim=config.embed_dim, depths=config.depths, heads=config.heads, window=config.window)
        self.decoder = PixelDecoder(
            [config.embed_dim << i for i in range(4)],
            config.stage,
            layers=config.encoder_layers,
            hidden=config.encoder_hidden,
            channels=config.channels,
        )

    def forward(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        return self.decoder(self.encoder(frames))


class Mask2FormerModel(nn.Module):
    def __init__(self, config: AavsConfig) -> None:
        super().__init__()
        self.pixel_level_module = PixelLevelModule(config)
        self.transformer_module = TransformerModule(
            config.stage,
            queries=config.queries,
            layers=config.decoder_layers,
            hidden=config.decoder_hidden,
            channels=config.channels,
        )


class Mask2Former(nn.Module):
    def __init__(self, config: AavsConfig) -> None:
        super().__init__()
        self.model = Mask2FormerModel(config)
        self.class_predictor = nn.Linear(config.channels, config.classes + 1)


class Aavs(nn.Module):
    """Frames ``(N, 3, H, W)`` and their VGGish rows ``(N, 128)`` to :class:`Output`; frames never meet."""

    def __init__(self, config: AavsConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Mask2Former(config)
        self.audio_proj = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, config.channels))

    def forward(self, frames: Tensor, audio: Tensor, *, boost: Tensor | None = None) -> Output:
        """``boost (N, h, w)`` in [0, 1]: the first stage's mask, which stage 2 adds to the mask features."""
        return last_of(self.decide(*self.look(frames, boost), audio))

    def look(self, frames: Tensor, boost: Tensor | None) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Features of three levels, mask features, and the first stage's mask ``(N, 1, h, w)``."""
        levels, features = self.model.model.pixel_level_module(frames)
        mask = None if boost is None else boost[:, None].to(features.dtype)
        if mask is not None:
            features = features + F.interpolate(mask, features.shape[2:], mode="bilinear")
        return levels, features, mask

    def decide(self, levels: list[Tensor], features: Tensor, mask: Tensor | None, audio: Tensor) -> Iterator[Output]:
        """What the decoder says before its first layer and after each."""
        heard = self.audio_proj(audio)
        for answer in self.model.model.transformer_module.answers(levels, features, heard, mask):
            yield Output(self.model.class_predictor(answer.queries), answer.masks)


def last_of(outputs: Iterator[Output]) -> Output:
    """The last layer's; those before are let go as they come."""
    return deque(outputs, maxlen=1).pop()
