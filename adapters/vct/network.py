"""VCT: two Swins, one on the frame and one on the picture of its segments, and queries that come from the picture.

Huang et al., "Revisiting Audio-Visual Segmentation with Vision-Centric Transformer" (CVPR 2025); names and arithmetic
of the published checkpoints, built from a description of the computation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ...audio.vggish import convolutions
from ...layers.mask2former import CHANNELS, Output
from ...layers.swin import Swin
from .decoder import Predictor
from .pixel_decoder import PixelDecoder

STRIDE = 4  # of the mask features


@dataclass(frozen=True)
class VctConfig:
    """Sizes of a model; the defaults are the published ones.

    Attributes:
        classes: with the background, without "no object".
        prototypes: of the prompt; 0: the queries are not prompted.
        pixels: of the stride-4 map, fixed by the weights.
    """

    classes: int
    prototypes: int
    queries: int = 100
    pixels: int = 96 * 96
    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    sound_hidden: int = 4096
    encoder_layers: int = 6
    encoder_hidden: int = 1024
    decoder_layers: int = 9
    decoder_hidden: int = 2048


S4 = VctConfig(classes=2, prototypes=23)
MS3 = VctConfig(classes=2, prototypes=0)
AVSS = VctConfig(classes=71, prototypes=71)

UNUSED = (
    "audio_backbone.embeddings.*",  # VGGish's linear layers
    "criterion.*",
    "*.attn.relative_position_index",  # follows from the window
)
UNUSED_WITH_PROMPT = ("sem_seg_head.predictor.audio_proj.*", "sem_seg_head.predictor.proto_proj.*")  # of a loss


def config_of(state: Mapping[str, Tensor], published: VctConfig) -> VctConfig:
    """The sizes of the model that a state dict holds, but for classes and prototypes, which tell variants apart."""
    tables = "backbone.layers.{}.blocks.0.attn.relative_position_bias_table"
    encoder = "sem_seg_head.pixel_decoder.transformer.encoder.layers"
    decoder = "sem_seg_head.predictor.transformer_ffn_layers"
    mixer = "sem_seg_head.predictor.visual_query_block.query_mixer.layers"

    def count(form: str) -> int:
        return next(i for i in itertools.count() if form.format(i) not in state)

    try:
        return replace(
            published,
            queries=len(state["sem_seg_head.predictor.query_feat.weight"]),
            pixels=state[f"{mixer}.0.weight"].shape[1],
            embed_dim=len(state["backbone.patch_embed.norm.bias"]),
            depths=tuple(count(f"backbone.layers.{i}.blocks.{{}}.norm1.bias") for i in range(4)),
            heads=tuple(state[tables.format(i)].shape[1] for i in range(4)),
            window=(math.isqrt(len(state[tables.format(0)])) + 1) // 2,
            sound_hidden=len(state["sem_seg_head.audio_transformation.embeddings.0.bias"]),
            encoder_layers=count(f"{encoder}.{{}}.linear1.bias"),
            encoder_hidden=len(state[f"{encoder}.0.linear1.bias"]),
            decoder_layers=count(f"{decoder}.{{}}.linear1.bias"),
            decoder_hidden=len(state[f"{decoder}.0.linear1.bias"]),
        )
    except (KeyError, IndexError, TypeError):
        return published


class Gate(nn.Module):
    """How much of each channel of the segments' features is added to the frame's; it looks at the former alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 16)
        self.fc2 = nn.Linear(channels // 16, channels)

    def forward(self, segments: Tensor) -> Tensor:
        """``(N, C, h, w)`` to ``(N, C)`` in (0, 1)."""
        return self.fc2(self.fc1(segments.mean((2, 3))).relu()).sigmoid()


class SoundPerceptron(nn.Module):
    """One perceptron for every place of the sound's map: ``(N, 512, 6, 4)`` to ``(N, 256, 6, 4)``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embeddings = nn.Sequential(
            nn.Linear(512, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, CHANNELS)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.embeddings(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SegmentationHead(nn.Module):
    def __init__(self, config: VctConfig) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(
            [config.embed_dim << i for i in range(4)], layers=config.encoder_layers, hidden=config.encoder_hidden
        )
        self.audio_transformation = SoundPerceptron(config.sound_hidden)
        self.predictor = Predictor(
            queries=config.queries,
            pixels=config.pixels,
            prototypes=config.prototypes,
            classes=config.classes,
            layers=config.decoder_layers,
            hidden=config.decoder_hidden,
        )

    def forward(self, maps: list[Tensor], sound: Tensor) -> Output:
        levels, features = self.pixel_decoder(maps)
        return self.predictor(levels, features, self.audio_transformation(sound))


class Vct(nn.Module):
    """Frames and pictures of their segments ``(N, 3, H, W)``, log-mel examples ``(N, 1, 96, 64)`` to :class:`Output`.

    H and W are multiples of 32 with ``H/4 * W/4`` pixels as the weights have them. Frames never meet.
    """

    def __init__(self, config: VctConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.pre_sam_backbone = (
            Swin(embed_dim=config.embed_dim, depths=config.depths, heads=config.heads, window=config.window)
            for _ in range(2)
        )
        self.scale_factor_module = nn.ModuleList(Gate(config.embed_dim << i) for i in range(4))
        self.audio_backbone = nn.ModuleDict({"features": convolutions()})
        self.sem_seg_head = SegmentationHead(config)

    def forward(self, frames: Tensor, pictures: Tensor, examples: Tensor) -> Output:
        seen, segments = self.backbone(frames), self.pre_sam_backbone(pictures)
        fused = [
            (x + gate(y)[:, :, None, None] * y).contiguous()  # convolutions of channels-last maps round otherwise
            for gate, x, y in zip(self.scale_factor_module, seen, segments, strict=True)
        ]
        return self.sem_seg_head(fused, self.audio_backbone["features"](examples))


def check_size(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Height and width in pixels, if weights with so many ``pixels`` at stride 4 take them.

    Raises:
        ValueError: they do not; the message names the sizes that fit.
    """
    height, width = size
    if height % 32 or width % 32 or min(size) < 32 or (height // STRIDE) * (width // STRIDE) != pixels:
        raise ValueError(f"{height}x{width} does not fit; these weights take {', '.join(map(as_text, sizes(pixels)))}")
    return size


def sizes(pixels: int) -> list[tuple[int, int]]:
    """All (height, width) that weights with so many pixels at stride 4 take, the squarest first."""
    sides = [side for side in range(8, pixels // 8 + 1, 8) if pixels % side == 0 and pixels // side % 8 == 0]
    found = [(STRIDE * side, STRIDE * (pixels // side)) for side in sides]
    return sorted(found, key=lambda size: abs(math.log(size[0] / size[1])))


def as_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
