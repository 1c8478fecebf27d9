"""Each small mistake that VCT's description warns of, made on purpose: a published case must tell it from the truth.

One file: every mistake is a patch around the one shared case, and a list of them is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adapter_cases import CLOSE, read_case
from torch import Tensor, nn
from vct_cases import heard_in, network_of, pictures_of

from coprop_plugin.adapters.images import MEAN, STD, normalise
from coprop_plugin.adapters.vct import decoder, network as vct, queries
from coprop_plugin.layers import deformable, mask2former, swin, windows
from coprop_plugin.layers.mask2former import Output, resize

pytestmark = [pytest.mark.needs("reference")]
CASE = "vct_s4_tiny"
FRAMES = 1  # frames never meet, so one shows what two would

Patch = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def case() -> SimpleNamespace:
    data = read_case(CASE)
    frames, pictures = (pixels[:FRAMES] for pixels in pictures_of(data))
    network = network_of(CASE, data)
    every_row = heard_in(data)
    heard = every_row[:FRAMES]
    stored = {k: data[k][:FRAMES] for k in ("class_queries_logits", "masks_queries_logits", "post_scores_s4")}
    whole = SimpleNamespace(
        network=network, frames=frames, pictures=pictures, heard=heard, every_row=every_row, **stored
    )
    with torch.inference_mode():
        seen, segments = network.backbone(normalise(frames)), network.pre_sam_backbone(normalise(pictures))
        whole.maps = [
            x + gate(y)[:, :, None, None] * y
            for gate, x, y in zip(network.scale_factor_module, seen, segments, strict=True)
        ]
        whole.sound = network.audio_backbone["features"](heard)
    return whole


def differences(output: Output, case: SimpleNamespace) -> tuple[float, float]:
    """Largest difference over the largest value, of class and of mask logits."""
    pairs = ((output.classes, case.class_queries_logits), (output.masks, case.masks_queries_logits))
    return tuple(float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)  # type: ignore[return-value]


def assert_caught(output: Output, case: SimpleNamespace, what: str) -> None:
    found = differences(output, case)
    print(f"{what}: class {found[0]:.1e}, mask {found[1]:.1e}")
    assert not all(value < CLOSE for value in found), f"{what} would pass: {found}"


@torch.inference_mode()
def test_without_a_mistake_nothing_differs(case: SimpleNamespace) -> None:
    whole = case.network(normalise(case.frames), normalise(case.pictures), case.heard)
    for output in (whole, case.network.sem_seg_head(case.maps, case.sound), predict(case)):
        assert max(differences(output, case)) < CLOSE


# what goes in


def scaled(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255


def black_where_no_segment(pictures: np.ndarray) -> np.ndarray:
    return np.where((pictures == 120).all(-1, keepdims=True), 0, pictures).astype(np.uint8)


INPUTS: dict[str, Callable[[np.ndarray, np.ndarray, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "Maskige read BGR": lambda f, p, s: (normalise(f), normalise(p[..., ::-1].copy()), s),
    "Maskige left at 0..1": lambda f, p, s: (normalise(f), scaled(p), s),
    "Maskige left at 0..255": lambda f, p, s: (normalise(f), 255 * scaled(p), s),
    "Maskige black where 0": lambda f, p, s: (normalise(f), normalise(black_where_no_segment(p)), s),
    "Maskige all grey": lambda f, p, s: (normalise(f), normalise(np.full_like(p, 120)), s),
    "frame divided by 255 only": lambda f, p, s: (scaled(f), normalise(p), s),
    "frame read BGR": lambda f, p, s: (normalise(f[..., ::-1].copy()), normalise(p), s),
    "frame and Maskige exchanged": lambda f, p, s: (normalise(p), normalise(f), s),
    "mean and std exchanged": lambda f, p, s: ((scaled(f) - column(STD)) / column(MEAN), normalise(p), s),
    "sound rows reversed": lambda f, p, s: (normalise(f), normalise(p), s.flip(0)),
    "sound zero": lambda f, p, s: (normalise(f), normalise(p), torch.zeros_like(s)),
}


def column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


@pytest.mark.parametrize("mistake", INPUTS)
@torch.inference_mode()
def test_inputs(mistake: str, case: SimpleNamespace) -> None:
    frames, pictures, sound = INPUTS[mistake](case.frames, case.pictures, case.every_row)
    assert_caught(case.network(frames, pictures, sound[:FRAMES]), case, mistake)


# backbones and gate


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    with mock.patch.object(owner, name, value):
        yield


@contextmanager
def swapped(network: nn.Module, changes: dict[str, nn.Module]) -> Iterator[None]:
    """Some modules of a network replaced."""
    kept = {name: network.get_submodule(name) for name in changes}
    try:
        for name, module in changes.items():
            network.set_submodule(name, module)
        yield
    finally:
        for name, module in kept.items():
            network.set_submodule(name, module)


def no_shift_in_one_window(x: Tensor, mix: Any, *, window: int, shifted: bool = False) -> Tensor:
    return windows.in_windows(x, mix, window=window, shifted=shifted and min(x.shape[1:3]) > window)


def no_shift_mask(x: Tensor, mix: Any, *, window: int, shifted: bool = False) -> Tensor:
    return windows.in_windows(x, lambda w, _: mix(w, None), window=window, shifted=shifted)


def merged_by_rows(self: windows.PatchMerging, x: Tensor) -> Tensor:
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    corners = [x[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return self.reduction(self.norm(torch.cat(corners, dim=-1)))


def gate_of(value: Any) -> Callable[[vct.Gate, Tensor], Tensor]:
    return lambda self, segments: torch.full(segments.shape[:2], float(value))


def gate_sees_frames(self: vct.Vct, frames: Tensor, pictures: Tensor, examples: Tensor) -> Output:
    seen, segments = self.backbone(frames), self.pre_sam_backbone(pictures)
    gates = [gate(x)[:, :, None, None] for gate, x in zip(self.scale_factor_module, seen, strict=True)]
    fused = [x + g * y for x, g, y in zip(seen, gates, segments, strict=True)]
    return self.sem_seg_head(fused, self.audio_backbone["features"](examples))


BACKBONES: dict[str, Callable[[nn.Module], AbstractContextManager[Any]]] = {
    "one Swin for both": lambda n: swapped(n, {"pre_sam_backbone": n.get_submodule("backbone")}),
    "gate from the frame's features": lambda n: attribute(vct.Vct, "forward", gate_sees_frames),
    "no gate": lambda n: attribute(vct.Gate, "forward", gate_of(1)),
    "no Maskige branch": lambda n: attribute(vct.Gate, "forward", gate_of(0)),
    "no shift where the map is one window": lambda n: attribute(swin, "in_windows", no_shift_in_one_window),
    "no shift mask": lambda n: attribute(swin, "in_windows", no_shift_mask),
    "merge order": lambda n: attribute(windows.PatchMerging, "forward", merged_by_rows),
    "outputs not normed": lambda n: swapped(
        n, {f"{b}.norm{i}": nn.Identity() for b in ("backbone", "pre_sam_backbone") for i in range(4)}
    ),
    "tanh GELU": lambda n: attribute(
        swin.FeedForward, "forward", lambda self, x: self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
    ),
}


@pytest.mark.parametrize("mistake", BACKBONES)
@torch.inference_mode()
def test_backbones(mistake: str, case: SimpleNamespace) -> None:
    with BACKBONES[mistake](case.network):
        output = case.network(normalise(case.frames), normalise(case.pictures), case.heard)
    assert_caught(output, case, mistake)


# pixel decoder and queries


def position_with(**changes: Any) -> Callable[..., Tensor]:
    """The sine code with a mistake in it."""

    def code(height: int, width: int, *, normalised: bool, device: torch.device, channels: int = 256) -> Tensor:
        half = channels // 2
        channel = torch.arange(half, device=device)
        period = 10000 ** (2 * (channel // 2) / half)

        def of(count: int) -> Tensor:
            place = torch.arange(1, count + 1, device=device).float() - changes.get("less", 0.0)
            if changes.get("normalised", True):
                place = place / (count + 1e-6) * 2 * torch.pi
            angle = place[:, None] / period
            return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

        rows, columns = of(height)[:, None].expand(-1, width, -1), of(width)[None].expand(height, -1, -1)
        parts = [columns, rows] if changes.get("x_first") else [rows, columns]
        return torch.cat(parts, dim=-1).flatten(0, 1)

    return code


@contextmanager
def positions(**changes: Any) -> Iterator[None]:
    with (
        mock.patch.object(mask2former, "sine_position", position_with(**changes)),
        mock.patch.object(decoder, "sine_position", position_with(**changes)),
    ):
        yield


def resizing(**options: Any) -> Patch:
    return lambda: attribute(mask2former, "resize", lambda x, size: F.interpolate(x, tuple(size), **options))


def mix_with(change: Callable[[Tensor, Any], Tensor]) -> Patch:
    true = deformable.mix

    def run(values: Tensor, offsets: Tensor, weights: Tensor, sizes: Any, centres: Tensor) -> Tensor:
        return true(values, change(offsets, sizes), weights, sizes, centres)

    return lambda: attribute(deformable, "mix", run)


def by_height_first(offsets: Tensor, sizes: Any) -> Tensor:
    """x divided by the height and y by the width: undone by the factor between them."""
    factor = torch.stack([torch.tensor([w / h, h / w]) for h, w in sizes]).view(1, len(sizes), 1, 1, 2)
    return offsets * factor


def block_with(step: Callable[[queries.VisualQueryBlock, Tensor], Tensor]) -> Patch:
    return lambda: attribute(queries.VisualQueryBlock, "forward", step)


def ask(block: queries.VisualQueryBlock, features: Tensor, *, mixed: Any = None, residual: bool = True) -> Tensor:
    """The queries of a block, written out, so that a step of it can be left out."""
    pixels = block.pre_proj(features).flatten(2)
    x = block.query_mixer(pixels if mixed is None else mixed(features, pixels)).transpose(1, 2)
    x = block.pre_attn(x, block.prototype.weight)
    grouped = block.assign_attn(x, pixels.transpose(1, 2))
    return x + grouped if residual else grouped


def column_major(features: Tensor, pixels: Tensor) -> Tensor:
    return pixels.unflatten(2, features.shape[2:]).transpose(2, 3).flatten(2)


def grouping(weigh: Callable[[Tensor], Tensor], *, plus: float = 1.0) -> Patch:
    def forward(self: queries.Grouping, x: Tensor, pixels: Tensor) -> Tensor:
        logits = self.q_proj(x) @ self.k_proj(pixels).transpose(1, 2) / 16
        weights = weigh(logits)
        total = weights.sum(-1, keepdim=True)
        return self.proj(weights @ self.v_proj(pixels) / (total + plus).clamp(min=1e-6))

    return lambda: attribute(queries.Grouping, "forward", forward)


def one_hot(logits: Tensor, dim: int) -> Tensor:
    return torch.zeros_like(logits).scatter_(dim, logits.argmax(dim, keepdim=True), 1.0)


def prompt(heads: int = 4, norm: bool = True) -> Patch:
    def forward(self: queries.Prompt, x: Tensor, prototypes: Tensor) -> Tensor:
        layer = self.multihead_attn
        other = nn.MultiheadAttention(256, heads, batch_first=True)
        other.load_state_dict(layer.state_dict())
        keys = prototypes.expand(len(x), -1, -1)
        x = x + other(x, keys, keys, need_weights=False)[0]
        return self.norm(x) if norm else x

    return lambda: attribute(queries.Prompt, "forward", forward)


def blocked_rows_kept(masks: Tensor, size: Any, *, logits: bool = True) -> Tensor:
    return (resize(masks, size).sigmoid() < 0.5).flatten(2)


def head_parts(case: SimpleNamespace) -> SimpleNamespace:
    head = case.network.sem_seg_head
    return SimpleNamespace(decoder=head.pixel_decoder, predictor=head.predictor, sound=head.audio_transformation)


@contextmanager
def zeroed(weight: Tensor) -> Iterator[None]:
    kept = weight.clone()
    weight.zero_()
    try:
        yield
    finally:
        weight.copy_(kept)


HEAD: dict[str, Callable[[SimpleNamespace], AbstractContextManager[Any]]] = {
    "pixel decoder without level embedding": lambda h: zeroed(h.decoder.transformer.level_embed),
    "ReLU after the adapter": lambda h: attribute(
        h.decoder.adapter_1, "forward", lambda x, c=h.decoder.adapter_1: F.relu(type(c).forward(c, x))
    ),
    "nearest instead of bilinear": lambda h: resizing(mode="nearest")(),
    "align_corners": lambda h: resizing(mode="bilinear", align_corners=True)(),
    "offsets (y, x)": lambda h: mix_with(lambda offsets, _: offsets.flip(-1))(),
    "offsets divided by (h, w)": lambda h: mix_with(by_height_first)(),
    "position x first": lambda h: positions(x_first=True),
    "position not normalised": lambda h: positions(normalised=False),
    "position from 0.5": lambda h: positions(less=0.5),
    "mixer on M": lambda h: block_with(lambda b, m: ask(b, m, mixed=lambda f, _: f.flatten(2)))(),
    "pixels column-major": lambda h: block_with(lambda b, m: ask(b, m, mixed=column_major))(),
    "no residual of the queries": lambda h: block_with(lambda b, m: ask(b, m, residual=False))(),
    "no visual queries": lambda h: block_with(lambda b, m: torch.zeros(len(m), 10, 256))(),
    "no prompt": lambda h: attribute(queries.Prompt, "forward", lambda self, x, _: x),
    "prompt of 8 heads": lambda h: prompt(heads=8)(),
    "no norm after the prompt": lambda h: prompt(norm=False)(),
    "soft grouping": lambda h: grouping(lambda logits: logits.softmax(1))(),
    "argmax over pixels": lambda h: grouping(lambda logits: one_hot(logits, 2))(),
    "divided by n": lambda h: grouping(lambda logits: one_hot(logits, 1), plus=0.0)(),
    "no query_feat": lambda h: zeroed(h.predictor.query_feat.weight),
    "decoder without level embedding": lambda h: zeroed(h.predictor.level_embed.weight),
    "no mask": lambda h: attribute(decoder, "blocked_keys", lambda masks, size: None),
    "fully blocked rows kept": lambda h: attribute(decoder, "blocked_keys", blocked_rows_kept),
    "sound pooled to one token": lambda h: attribute(
        h.sound, "forward", lambda x, s=h.sound: type(s).forward(s, x).mean((2, 3), keepdim=True)
    ),
    "sound grid transposed": lambda h: attribute(
        h.sound, "forward", lambda x, s=h.sound: type(s).forward(s, x).transpose(2, 3)
    ),
}


@pytest.mark.parametrize("mistake", HEAD)
@torch.inference_mode()
def test_head(mistake: str, case: SimpleNamespace) -> None:
    with HEAD[mistake](head_parts(case)):
        output = case.network.sem_seg_head(case.maps, case.sound)
    assert_caught(output, case, mistake)


# the loop of the decoder, written out so that its order can be changed


def predict(case: SimpleNamespace, **changes: Any) -> Output:
    head = case.network.sem_seg_head
    levels, features = head.pixel_decoder(case.maps)
    heard, p = head.audio_transformation(case.sound), head.predictor
    maps = [*levels, heard] if changes.get("last") else [heard, *levels]
    embeds = list(p.level_embed.weight)
    if changes.get("last"):
        embeds = [*embeds[1:], embeds[0]]
    if changes.get("three"):
        maps, embeds = maps[1:], embeds[1:]
    sound = 3 if changes.get("last") else -1 if changes.get("three") else 0
    values = [level.flatten(2).transpose(1, 2) + embed for level, embed in zip(maps, embeds, strict=True)]
    codes = [mask2former.sine_position(*x.shape[2:], normalised=True, device=features.device) for x in maps]
    if changes.get("placeless"):
        codes[sound] = torch.zeros_like(codes[sound])
    keys = [value + code for value, code in zip(values, codes, strict=True)]
    values = keys if changes.get("placed_values") else values
    x, place = p.query_feat.weight + p.visual_query_block(features), p.query_embed.weight
    for i in range(len(p.transformer_ffn_layers)):
        at = i % len(maps)
        if changes.get("once") and i:
            at = 1 + (i - 1) % 3
        blocked = None
        if at != sound or changes.get("masked_sound"):
            blocked = mask2former.blocked_keys(p.masks(x, features), maps[at].shape[2:])
        steps = [
            lambda x, i=i, at=at, b=blocked: p.transformer_cross_attention_layers[i](x, place, keys[at], values[at], b),
            lambda x, i=i: p.transformer_self_attention_layers[i](x, place),
        ]
        for step in reversed(steps) if changes.get("self_first") else steps:
            x = step(x)
        x = p.transformer_ffn_layers[i](x)
        x = p.decoder_norm(x) if changes.get("normed_on") else x
    return Output(p.class_embed(p.decoder_norm(x)), p.masks(x, features))


LOOP = {
    "sound as the last level": "last",
    "only three levels": "three",
    "sound only in layer 0": "once",
    "sound without position": "placeless",
    "sound masked like pixels": "masked_sound",
    "position in values": "placed_values",
    "self attention first": "self_first",
    "decoder_norm carried on": "normed_on",
}


@pytest.mark.parametrize("mistake", LOOP)
@torch.inference_mode()
def test_loop(mistake: str, case: SimpleNamespace) -> None:
    assert_caught(predict(case, **{LOOP[mistake]: True}), case, mistake)


# from logits to scores


def scores_of(case: SimpleNamespace, how: str) -> Tensor:
    classes, masks = (torch.from_numpy(x) for x in (case.class_queries_logits, case.masks_queries_logits))
    size = case.frames.shape[1:3]
    shares = classes[..., :-1].softmax(-1) if how == "softmax after dropping" else classes.softmax(-1)[..., :-1]
    match how:
        case "straight from stride 4":
            planes = masks.sigmoid()
        case "sigmoid before resize":
            planes = resize(masks.sigmoid(), size)
        case "masks to 224 directly":
            planes = resize(masks, (224, 224)).sigmoid()
        case "masks to 384 whatever the size":
            planes = resize(masks, (384, 384)).sigmoid()
        case _:
            planes = resize(masks, size).sigmoid()
    return resize(torch.einsum("nqc,nqhw->nchw", shares, planes), (224, 224))[:, :, ::4, ::4]


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "softmax after dropping",
        "straight from stride 4",
        "sigmoid before resize",
        "masks to 224 directly",
        "masks to 384 whatever the size",
    ],
)
def test_scores(mistake: str | None, case: SimpleNamespace) -> None:
    stored = case.post_scores_s4
    error = float(np.abs(scores_of(case, mistake or "").numpy() - stored).max() / np.abs(stored).max())
    print(f"{mistake}: {error:.1e}")
    assert (error < CLOSE) == (mistake is None), f"{mistake}: {error:.1e}"


def test_every_context_puts_back_what_it_changed(case: SimpleNamespace) -> None:
    with ExitStack() as stack:
        for make in HEAD.values():
            stack.enter_context(make(head_parts(case)))
    with torch.inference_mode():
        assert max(differences(case.network.sem_seg_head(case.maps, case.sound), case)) < CLOSE
