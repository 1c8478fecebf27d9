"""The keyframe processor's network: an image and its sound in, a mask out (paper section 3.3).

The picture's maps at strides 8, 16 and 32 are flattened and joined with one token of the sound in a transformer encoder
(of the two readings of the paper, "cross-attention at each layer" and concatenation, the more detailed one). Queries made
of the sound look them up in CATR's decoder, and each gives a kernel that reads a mask from the finest map. Where CATR
takes the mask of the query that says most clearly that it is the object, here the kernels are averaged by how
clearly they say it: the same choice, but soft, so that training needs no matching, and one for each class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters.catr.transformer import DecoderLayer, EncoderLayer
from ..errors import CheckpointError, CoPropError, unknown_name
from ..layers.positions import sine_position
from ..weights.variants import State, Variant
from .backbones import BACKBONES, backbone_of

PREFIX = "backbone."
MAX_SIDE_PX, MAX_LAYERS = 1024, 24
CHANNELS_A_HEAD = 32
GROUPS = 8  # of group norms
RARE_LOGIT = -2.0  # of a pixel to be an object's, before anything is learned


@dataclass(frozen=True)
class KpfForm:
    """What fixes the shapes of a network; its weights tell all of it.

    Attributes:
        backbone: one of BACKBONES.
        audio_dim: numbers of a frame's sound: 128 VGGish, 80 log-mel, 1024 YAMNet.
        channels: of the answer: 1 for sounding or not, else the background and the classes.
        width: of tokens, a multiple of 32.
        hidden: of feed-forward parts.
        queries, encoder_layers, decoder_layers: how many (CATR: 50, 3, 3).
        size: height and width that pictures are made.
    """

    backbone: str = "pvt_v2_b5"
    audio_dim: int = 128
    channels: int = 1
    width: int = 256
    hidden: int = 2048
    queries: int = 50
    encoder_layers: int = 3
    decoder_layers: int = 3
    size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise unknown_name("backbone", self.backbone, BACKBONES)
        counts = (self.audio_dim, self.channels, self.hidden, self.queries)
        layers = (self.encoder_layers, self.decoder_layers)
        if self.width < CHANNELS_A_HEAD or self.width % CHANNELS_A_HEAD or min(counts) < 1:
            raise CoPropError(
                f"a keyframe processor has a width in multiples of {CHANNELS_A_HEAD} and positive counts; got {self}."
            )
        if not all(1 <= count <= MAX_LAYERS for count in layers) or not all(
            32 <= side <= MAX_SIDE_PX and side % 32 == 0 for side in self.size
        ):
            raise CoPropError(
                f"a keyframe processor has 1 to {MAX_LAYERS} layers of a kind and sides of 32 to {MAX_SIDE_PX} px in "
                f"multiples of 32; got {layers} and {self.size}."
            )

    @classmethod
    def of(cls, state: State) -> KpfForm:
        """The form that weights are of; where they do not tell, the default's.

        Raises:
            CheckpointError: no form that there is.
        """
        default = cls()
        audio, first, share = (
            _shape(state, name) for name in ("audio.0.weight", "encoder.0.linear1.weight", "share.weight")
        )
        size = state.get("input_px")
        try:
            return cls(
                backbone=backbone_of(state, prefix=PREFIX),
                audio_dim=audio[1] if audio else default.audio_dim,
                channels=share[0] if share else default.channels,
                width=audio[0] if audio else default.width,
                hidden=first[0] if first else default.hidden,
                queries=(_shape(state, "queries") or (default.queries,))[0],
                encoder_layers=_count(state, r"encoder\.(\d+)\.norm1\.bias") or default.encoder_layers,
                decoder_layers=_count(state, r"decoder\.(\d+)\.norm1\.bias") or default.decoder_layers,
                size=tuple(size.tolist()) if size is not None and size.shape == (2,) else default.size,
            )
        except CheckpointError:
            raise
        except (CoPropError, TypeError) as error:
            raise CheckpointError(f"weights of no keyframe processor that can be: {error}") from error


class Kpf(nn.Module):
    """``(N, 3, H, W)`` normalised pictures and ``(N, D)`` sounds to ``(layers, N, C, H/4, W/4)`` logits.

    The last layer's are the answer; the earlier ones are there to be trained. With C = 1 it is the logit of the
    foreground, else a softmax over the channels, the background first.
    """

    def __init__(self, form: KpfForm) -> None:
        super().__init__()
        self.form = form
        width = form.width
        self.backbone = BACKBONES[form.backbone].make()
        fine, *coarse = BACKBONES[form.backbone].channels
        self.lateral = nn.Sequential(nn.Conv2d(fine, width, 1), _norm(width))
        self.project = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, 1), _norm(width)) for c in coarse)
        self.audio = nn.Sequential(nn.Linear(form.audio_dim, width), nn.LayerNorm(width))
        self.scales = nn.Parameter(torch.zeros(len(coarse) + 1, width))  # which map a token is of; the last: sound
        self.encoder = nn.ModuleList(EncoderLayer(width, form.hidden) for _ in range(form.encoder_layers))
        self.queries = nn.Parameter(torch.randn(form.queries, width))
        self.asked = nn.Linear(width, width)  # what the sound adds to the queries
        self.decoder = nn.ModuleList(DecoderLayer(width, form.hidden) for _ in range(form.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.share = nn.Linear(width, form.channels)
        kernel = width // 4
        last = nn.Linear(width, kernel + 1)  # a kernel, and what its mask is shifted by
        self.kernel = nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)
        self.smooth = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), _norm(width), nn.ReLU())
        self.finest = nn.Conv2d(width, kernel, 3, padding=1)
        self.register_buffer("input_px", torch.tensor(form.size))
        nn.init.normal_(self.scales, std=0.02)
        if form.channels == 1:
            nn.init.constant_(last.bias[-1:], RARE_LOGIT)

    together = 1  # frames never meet
    subject = "kpf"  # of coprop train

    def forward(self, pictures: Tensor, sounds: Tensor) -> Tensor:
        return self.decode(self.backbone(pictures), sounds)

    def decode(self, seen: Sequence[Tensor], sounds: Tensor) -> Tensor:
        """What follows the backbone, from its four maps."""
        finest, *maps = seen
        maps = [project(each) for project, each in zip(self.project, maps, strict=True)]
        memory, position = self._joined(maps, sounds)
        for layer in self.encoder:
            memory = layer(memory, position)
        features = self._features(finest, memory, [each.shape[2:] for each in maps])
        query = self.queries + self.asked(memory[:, -1:])  # (N, Q, C): made of the sound, as it is in this picture
        content, answers = torch.zeros_like(query), []
        for layer in self.decoder:
            content = layer(content, query, memory, memory + position)
            answers.append(self._masks(self.norm(content), features))
        return torch.stack(answers)

    def _joined(self, maps: list[Tensor], sounds: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, S + 1, C)`` tokens of all maps and of the sound, and ``(S + 1, C)`` where they lie."""
        tokens = [each.flatten(2).transpose(1, 2) for each in maps]
        width, device = tokens[0].shape[2], sounds.device
        places = [
            sine_position(*each.shape[2:], normalised=True, device=device, channels=width) + scale
            for each, scale in zip(maps, self.scales, strict=False)
        ]
        memory = torch.cat([*tokens, self.audio(sounds)[:, None]], dim=1)
        return memory, torch.cat([*places, self.scales[-1:]]).to(memory.dtype)

    def _features(self, finest: Tensor, memory: Tensor, sizes: list[torch.Size]) -> Tensor:
        """``(N, k, H/4, W/4)``: the encoded maps, each enlarged onto the finer one."""
        parts = memory[:, :-1].split([height * width for height, width in sizes], dim=1)
        x: Tensor | None = None
        for tokens, size in zip(reversed(parts), reversed(sizes), strict=True):
            level = tokens.transpose(1, 2).unflatten(2, size)
            x = level if x is None else level + F.interpolate(x, size, mode="bilinear", align_corners=False)
        assert x is not None
        x = self.lateral(finest) + F.interpolate(x, finest.shape[2:], mode="bilinear", align_corners=False)
        return self.finest(self.smooth(x))

    def _masks(self, content: Tensor, features: Tensor) -> Tensor:
        """``(N, C, h, w)``: of each channel the kernels of all queries, weighed by how clearly each is this one's."""
        shares = self.share(content).softmax(dim=1)
        kernels = torch.einsum("nqc,nqk->nck", shares, self.kernel(content))
        return torch.einsum("nck,nkhw->nchw", kernels[..., :-1], features) + kernels[..., -1, None, None]


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width)


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state and state[name].ndim else None


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many layers of a kind there are, from their names."""
    return len({found[1] for name in state if (found := re.fullmatch(pattern, name))})


VARIANTS = (Variant("kpf", "kpf", lambda state: Kpf(KpfForm.of(state)), marks="asked.weight"),)
