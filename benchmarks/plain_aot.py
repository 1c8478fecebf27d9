"""AOT as published, written plainly: one sequence, one frame at a time, attention materialised, unbounded memory.

The yardstick of ``propagator.py``. Plain functions on the published weights; it shares no code with the package and
passes the same parity cases. AOT with MobileNetV2 or ResNet-50.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

HEADS, RADIUS, WINDOW = 8, 7, 15
MOBILENET = (  # expansion, channels, repeats, stride, dilation of the first and of the others
    (1, 16, 1, 1, 1, 1),
    (6, 24, 2, 2, 1, 1),
    (6, 32, 3, 2, 1, 1),
    (6, 64, 4, 2, 1, 1),
    (6, 96, 3, 1, 1, 1),
    (6, 160, 3, 1, 1, 2),
    (6, 320, 1, 1, 2, 2),
)


class Weights:
    """Published weights under a prefix: ``w["name"]`` is an entry, ``w / "name"`` what lies below it."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str = "") -> None:
        self.state, self.prefix = state, prefix

    def __truediv__(self, name: str | int) -> Weights:
        return Weights(self.state, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return any(entry.startswith(f"{self.prefix}{name}.") for entry in self.state)

    def get(self, name: str) -> Tensor | None:
        return self.state.get(self.prefix + name)


def conv(w: Weights, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, w["weight"], w.get("bias"), **options)


def linear(w: Weights, x: Tensor) -> Tensor:
    return F.linear(x, w["weight"], w["bias"])


def layer_norm(w: Weights, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w["weight"], w["bias"])


def batch_norm(w: Weights, x: Tensor) -> Tensor:
    return F.batch_norm(x, w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=1e-5)


def mobilenet(w: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    w = w / "features"
    x = F.relu6(batch_norm(w / "0.1", conv(w / "0.0", x, stride=2, padding=1)))
    maps, index = {}, 0
    for expansion, channels, repeats, stride, first, others in MOBILENET:
        for repeat in range(repeats):
            index += 1
            y, block = x, w / index / "conv"
            hidden = x.shape[1] * expansion
            if expansion > 1:
                y = F.relu6(batch_norm(block / "0.1", conv(block / "0.0", y)))
            depthwise, projection = (block / 1, block / 2) if expansion > 1 else (block / 0, block / 1)
            dilation, step = (others, 1) if repeat else (first, stride)
            y = conv(depthwise / 0, y, stride=step, padding=dilation, dilation=dilation, groups=hidden)
            y = F.relu6(batch_norm(depthwise / 1, y))
            y = batch_norm(block / (3 if expansion > 1 else 2), conv(projection, y))
            x = x + y if step == 1 and x.shape[1] == channels else y
        maps[index] = x
    top = F.relu6(batch_norm(w / "18.1", conv(w / "18.0", x)))
    return maps[3], maps[6], maps[13], top


def resnet(w: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = F.relu(batch_norm(w / "bn1", conv(w / "conv1", x, stride=2, padding=3)))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    maps = []
    for layer, blocks in ((1, 3), (2, 4), (3, 6)):
        for index in range(blocks):
            block, stride = w / f"layer{layer}" / index, 2 if layer > 1 and index == 0 else 1
            y = F.relu(batch_norm(block / "bn1", conv(block / "conv1", x)))
            y = F.relu(batch_norm(block / "bn2", conv(block / "conv2", y, stride=stride, padding=1)))
            y = batch_norm(block / "bn3", conv(block / "conv3", y))
            if "downsample" in block:
                x = batch_norm(block / "downsample.1", conv(block / "downsample.0", x, stride=stride))
            x = F.relu(x + y)
        maps.append(x)
    return maps[0], maps[1], maps[2], maps[2]


def heads_of(x: Tensor) -> Tensor:
    return x.view(len(x), HEADS, -1).transpose(0, 1)  # (heads, N, d)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = heads_of(q), heads_of(k), heads_of(v)
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
    return (weights @ v).transpose(0, 1).flatten(1)


class PlainAOT:
    """One sequence: ``reference``, then ``propagate`` and ``update`` for every next frame.

    Args:
        state: published weights.
        gap: frames between insertions into the long-term memory.
    """

    def __init__(self, state: Mapping[str, Tensor], *, gap: int) -> None:
        self.w, self.gap = Weights(state), gap
        self.layers = sum(name.startswith("LSTT.decoder_norms") for name in state) // 2
        self.encoder = mobilenet if "features" in self.w / "encoder" else resnet
        self.size: tuple[int, int] = (0, 0)

    def reference(self, image: Tensor, label: Tensor, num_objects: int) -> None:
        """Begin with the mask ``(H, W)`` of a normalised image ``(3, H, W)``."""
        self.num_objects, self.time, self.last = num_objects, 0, 0
        _, tokens = self._encode(image)
        identity = self._identity(label)
        _, current = self._propagate(tokens, None, identity)
        self.short = self._fuse(current, identity)
        self.long = self.short

    def propagate(self, image: Tensor) -> Tensor:
        """``(K+1, H/4, W/4)`` logits of the next image."""
        self.time += 1
        maps, tokens = self._encode(image)
        outputs, self.current = self._propagate(tokens, list(zip(self.long, self.short, strict=True)), None)
        return self._decode(maps, outputs)[0, : self.num_objects + 1]

    def update(self, label: Tensor) -> None:
        """Remember the current frame with its mask."""
        self.short = self._fuse(self.current, self._identity(label))
        if self.time - self.last >= self.gap:
            self.last = self.time
            self.long = [
                tuple(torch.cat(pair) for pair in zip(old, new, strict=True))
                for old, new in zip(self.long, self.short, strict=True)
            ]

    def _encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        x4, x8, x16, top = self.encoder(self.w / "encoder", image[None])
        projected = conv(self.w / "encoder_projector", top)
        if projected.shape[2:] != self.size:
            self.size = (projected.shape[2], projected.shape[3])
            self.position = position(*self.size)
            self.place, self.outside = window_places(*self.size)
        return [x4, x8, x16, projected], projected[0].flatten(1).T

    def _identity(self, label: Tensor) -> Tensor:
        one_hot = torch.stack([label == k for k in range(11)]).float()[None]
        return conv(self.w / "patch_wise_id_bank", one_hot, stride=16, padding=8)[0].flatten(1).T

    def _fuse(self, current: list[tuple[Tensor, Tensor]], identity: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(q, linear(self.w / "LSTT.layers" / i / "linear_V", y + identity)) for i, (q, y) in enumerate(current)]

    def _propagate(
        self, x: Tensor, memories: list | None, identity: Tensor | None
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        outputs, current = [], []
        for i in range(self.layers):
            w = self.w / "LSTT.layers" / i
            y = layer_norm(w / "norm1", x)
            attn, placed = w / "self_attn", y + self.position
            mixed = attention(
                linear(attn / "linear_Q", placed), linear(attn / "linear_K", placed), linear(attn / "linear_V", y)
            )
            x = x + linear(attn / "projection", mixed)
            y = layer_norm(w / "norm2", x)
            q = linear(w / "linear_Q", y)
            long, short = memories[i] if memories else [(q, linear(w / "linear_V", y + identity))] * 2
            x = x + linear(w / "long_term_attn.projection", attention(q, *long))
            x = x + linear(w / "short_term_attn.projection", self._local(w / "short_term_attn", q, *short))
            hidden = linear(w / "linear1", layer_norm(w / "norm3", x)).T.unflatten(1, self.size)[None]
            gn = w / "activation.gn"
            hidden = F.gelu(F.group_norm(hidden, 32, gn["weight"], gn["bias"]))
            hidden = conv(w / "activation.conv", hidden, padding=2, groups=1024)
            x = x + linear(w / "linear2", hidden[0].flatten(1).T)
            outputs.append(layer_norm(self.w / "LSTT.decoder_norms" / i, x))
            current.append((q, y))
        return outputs, current

    def _local(self, w: Weights, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The window as a bias of full attention: minus infinity outside."""
        bias = conv(w / "relative_emb_k", q.T.unflatten(1, self.size)[None], groups=HEADS)
        bias = bias.view(HEADS, WINDOW**2, -1).transpose(1, 2)  # (heads, N, 225)
        q, k, v = heads_of(q), heads_of(k), heads_of(v)
        logits = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        place = self.place.expand(HEADS, -1, -1)
        windowed = logits.gather(2, place) + bias
        weights = windowed.masked_fill(self.outside, -torch.inf).softmax(dim=2)
        dense = torch.zeros_like(logits).scatter_add_(2, place, weights)
        mixed = dense @ v + weights @ w["relative_emb_v"].transpose(1, 2)
        return mixed.transpose(0, 1).flatten(1)

    def _decode(self, maps: list[Tensor], outputs: list[Tensor]) -> Tensor:
        w = self.w / "decoder"

        def block(name: str, x: Tensor) -> Tensor:
            y = conv(w / name / "conv", x, padding=(w / name / "conv")["weight"].shape[-1] // 2)
            return F.relu(F.group_norm(y, 8, (w / name / "gn")["weight"], (w / name / "gn")["bias"]))

        def up(x: Tensor, like: Tensor) -> Tensor:
            return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)

        x = block("conv_in", torch.cat([maps[3], *(y.T.unflatten(1, self.size)[None] for y in outputs)], dim=1))
        x = block("conv_16x", conv(w / "adapter_16x", maps[2]) + x)
        x = block("conv_8x", conv(w / "adapter_8x", maps[1]) + up(x, maps[1]))
        x = block("conv_4x", conv(w / "adapter_4x", maps[0]) + up(x, maps[0]))
        return conv(w / "conv_out", x)


def position(height: int, width: int) -> Tensor:
    """``(N, 256)`` sines and cosines, y first."""

    def axis(length: int) -> Tensor:
        angle = 2 * math.pi * torch.arange(length)[:, None] / (length - 1 + 1e-6) / 10000 ** (torch.arange(64) / 64)
        return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)

    y, x = axis(height), axis(width)
    return torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=2).flatten(0, 1)


def window_places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """``(N, 225)``: the key of each place in a query's window (clipped), and whether it lies outside."""
    reach = torch.arange(-RADIUS, RADIUS + 1)
    y = (torch.arange(height)[:, None] + reach)[:, None, :, None].expand(-1, width, -1, WINDOW)
    x = (torch.arange(width)[:, None] + reach)[None, :, None, :].expand(height, -1, WINDOW, -1)
    outside = (y < 0) | (y >= height) | (x < 0) | (x >= width)
    place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return place.flatten(2).flatten(0, 1), outside.flatten(2).flatten(0, 1)
