"""CATR: one of 50 queries a frame is the sounding object; its kernel reads the mask from audio-gated features.

Li et al., "CATR: Combinatorial-Dependence Audio-Queried Transformer for Audio-Visual Video Segmentation" (ACM MM
2023); names and arithmetic of the published PVT-v2-B5 model (aspirinone/CATR.github.io). Its repository lacks the
hyper-parameter file; the values here are those of the configuration that its code derives from (d_model 256,
8 heads, feed-forward 2048, 3 + 3 layers), and all but the heads and the width are fixed by the checkpoint's shapes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import pvt_v2
from ...layers.pyramid import DilatedPyramid
from .transformer import CHANNELS, Transformer

CLIP_FRAMES = 5  # hard-coded in the published code
QUERIES = 50
KERNEL = 64
UNUSED = (
    "conv1.*",
    "path?.*",
    "fusion_module.*",
    "transformer.temporal_encoder.[av][av]_atten.*",
    "transformer.temporal_encoder.layers.?.[av][av]_atten.vid_embed_proj.*",
    "transformer.temporal_encoder.layers.2.va_atten.*",
)


class Output(NamedTuple):
    """Of every decoder layer (the last one counts) and frame.

    Attributes:
        masks: ``(3, N, 50, h/16, w/16)`` logits of each query's mask.
        referred: ``(3, N, 50, 2)`` logits; index 0 is "this is the sounding object".
    """

    masks: Tensor
    referred: Tensor


class SpatialDecoder(nn.Module):
    """Video memory at stride 8 and the pyramid's maps at strides 32 and 16 to mask features ``(N, 64, h/16, w/16)``."""

    def __init__(self) -> None:
        super().__init__()
        widths = (CHANNELS, CHANNELS, 128, 64, 32)
        for i, (before, width) in enumerate(pairwise(widths), start=1):
            self.add_module(f"lay{i}", nn.Conv2d(before, width, 3, padding=1))
            self.add_module(f"gn{i}", nn.GroupNorm(8, width))
        self.adapter1 = nn.Conv2d(CHANNELS, 128, 1)
        self.adapter2 = nn.Conv2d(CHANNELS, 64, 1)
        self.out_lay = nn.Conv2d(32, KERNEL, 3, padding=1)

    def block(self, i: int, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"gn{i}")(self.get_submodule(f"lay{i}")(x)))

    def forward(self, memory: Tensor, stride32: Tensor, stride16: Tensor) -> Tensor:
        x = self.block(2, self.block(1, memory))
        x = self.block(3, self.adapter1(stride32) + F.interpolate(x, stride32.shape[2:], mode="nearest"))
        x = self.block(4, self.adapter2(stride16) + F.interpolate(x, stride16.shape[2:], mode="nearest"))
        return self.out_lay(x)


class KernelHead(nn.Module):
    """Decoder contents ``(..., 256)`` to the 64 weights of each query's mask kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, KERNEL)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.layers
        return second(F.relu(first(x)))


class Catr(nn.Module):
    """Frames ``(B * T, 3, H, W)`` of B clips and five VGGish rows a clip, ``(B, 5, 128)``, to :class:`Output`.

    T is 5 in the published code. With T = 1 and one row five times the result is that of the frame shown five times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder_backbone = pvt_v2.PvtV2B5()
        for i in (2, 3, 4):
            self.add_module(f"conv{i}", DilatedPyramid(pvt_v2.CHANNELS[i - 1]))
        self.vid_embed_proj = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.obj_queries = nn.Embedding(QUERIES, CHANNELS)
        self.transformer = Transformer()
        self.spatial_decoder = SpatialDecoder()
        self.instance_kernels_head = KernelHead()
        self.is_referred_head = nn.Linear(CHANNELS, 2)

    def forward(self, frames: Tensor, audio: Tensor) -> Output:
        maps = self.encoder_backbone(frames)
        stride8, stride16, stride32 = (self.get_submodule(f"conv{i}")(maps[i - 1]) for i in (2, 3, 4))
        video = self.vid_embed_proj(stride8).unflatten(0, (len(audio), -1))
        memory, contents = self.transformer(video, audio, self.obj_queries.weight)
        features = self.spatial_decoder(memory, stride32, stride16)
        masks = torch.einsum("lnqc,nchw->lnqhw", self.instance_kernels_head(contents), features)
        return Output(masks, self.is_referred_head(contents))


def choose_mask(masks: Tensor, referred: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The published choice: each frame takes the query that says most clearly that it is the sounding object.

    Args:
        masks: ``(N, 50, h, w)`` logits of the last layer.
        referred: ``(N, 50, 2)`` logits of the last layer.
        size: height and width of the result in pixels.

    Returns:
        ``(N, H, W)`` mask logits (the mask is where they are positive), and the chosen query ``(N,)``.
    """
    query = referred.softmax(-1)[..., 0].argmax(-1)
    chosen = masks[torch.arange(len(masks), device=masks.device), query]
    return F.interpolate(chosen[:, None], size, mode="bilinear")[:, 0], query
