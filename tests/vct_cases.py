"""Published cases of VCT: their network, inputs and intermediate values; a small network; clips and files for adapters."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from adapter_cases import filled, state_of, watching
from torch import Tensor

from coprop_plugin.adapters.images import normalise, resize_bilinear
from coprop_plugin.adapters.vct import maskige
from coprop_plugin.adapters.vct.network import (
    AVSS,
    MS3,
    S4,
    UNUSED,
    UNUSED_WITH_PROMPT,
    Vct,
    VctConfig,
    config_of,
)
from coprop_plugin.layers.mask2former import Output

PUBLISHED = {"s4": S4, "ms3": MS3, "avss": AVSS}
PREDICTOR = "sem_seg_head.predictor"
BLOCK = f"{PREDICTOR}.visual_query_block"

SMALL = {
    "pixels": 32 * 32,  # 128 x 128 px
    "embed_dim": 32,
    "depths": (1, 1, 2, 1),
    "heads": (1, 2, 4, 8),
    "window": 4,
    "sound_hidden": 64,
    "encoder_layers": 1,
    "encoder_hidden": 64,
    "decoder_layers": 5,
    "decoder_hidden": 64,
}


def small(variant: str) -> VctConfig:
    return replace(PUBLISHED[variant], queries=10, **SMALL)


def network_of(layout: str, case: dict[str, np.ndarray]) -> Vct:
    """The network of a layout with the case's weights, its sizes read from them as users' files are."""
    published = PUBLISHED[layout.split("_")[1]]
    unused = (*UNUSED, *UNUSED_WITH_PROMPT) if published.prototypes else UNUSED
    state = state_of(layout, int(case["seed"]), unused=unused)
    return filled(lambda: Vct(config_of(state, published)), layout, case, unused=unused)


def pictures_of(case: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Frames and coloured Maskige at the network's size, ``(T, H, W, 3) uint8`` each."""
    size = tuple(case["size"].tolist())
    frames = resize_bilinear(case["frames_rgb"].transpose(0, 2, 3, 1), size)
    return frames, np.stack([maskige.resized(maskige.coloured(index), size) for index in case["maskige_index"]])


def heard_in(case: dict[str, np.ndarray]) -> Tensor:
    """``(T, 1, 96, 64)``: the examples that belong to frames."""
    examples = torch.from_numpy(case["log_mel"])
    if "vid_temporal_mask_flag" in case:
        examples = examples[torch.from_numpy(case["vid_temporal_mask_flag"]) > 0]
    return examples


def inputs_of(case: dict[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    frames, pictures = pictures_of(case)
    return normalise(frames), normalise(pictures), heard_in(case)


@torch.inference_mode()
def run_watched(network: Vct, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Output, dict[str, Tensor]]:
    """The network's output, and intermediate values under the names of the cases, without their strides."""
    layers = range(network.config.decoder_layers)
    names = ["backbone", "pre_sam_backbone", "audio_backbone.features", "sem_seg_head.audio_transformation"]
    names += [f"scale_factor_module.{i}" for i in range(4)] + ["sem_seg_head.pixel_decoder", BLOCK]
    names += [f"{BLOCK}.query_mixer", f"{BLOCK}.assign_attn"]
    names += [f"{BLOCK}.pre_attn"] if network.config.prototypes else []
    names += [f"{PREDICTOR}.transformer_ffn_layers.{i}" for i in layers]
    blocked: list[Tensor | None] = []
    with ExitStack() as stack:
        seen = stack.enter_context(watching(network, *names))
        for i in layers:
            layer = network.get_submodule(f"{PREDICTOR}.transformer_cross_attention_layers.{i}")
            hook = layer.register_forward_pre_hook(partial(_keep_blocked, blocked))
            stack.callback(hook.remove)
        output = network(*inputs)
    values = _of_features(seen, inputs)
    values |= _of_queries(network, seen)
    x = torch.stack([seen[f"{PREDICTOR}.transformer_ffn_layers.{i}"] for i in layers])
    head = network.sem_seg_head.predictor
    with torch.inference_mode():
        first = head.query_feat.weight + seen[BLOCK]
        values["aux_class_logits"] = head.class_embed(head.decoder_norm(torch.cat([first[None], x[:-1]])))
    values["layers"] = x
    shares = [torch.zeros(x.shape[1:3]) if b is None else b.float().mean(-1) for b in blocked]
    values["blocked_share"] = torch.stack(shares)
    return output, values


def _keep_blocked(kept: list[Tensor | None], _: Any, arguments: tuple[Any, ...]) -> None:
    kept.append(arguments[4])


def _of_features(seen: dict[str, Any], inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    levels, features = seen["sem_seg_head.pixel_decoder"]
    values = {
        "audio_conv": seen["audio_backbone.features"],
        "audio_feature": seen["sem_seg_head.audio_transformation"],
        "mask_features": features,
    }
    values |= {f"level{stride}": level for stride, level in zip((32, 16, 8), levels, strict=True)}
    for i in range(4):
        image, segments, gate = seen["backbone"][i], seen["pre_sam_backbone"][i], seen[f"scale_factor_module.{i}"]
        values |= {f"image_res{i + 2}": image, f"mask_res{i + 2}": segments, f"gate{i + 2}": gate}
        values[f"fused_res{i + 2}"] = image + gate[:, :, None, None] * segments
    return values


@torch.inference_mode()
def _of_queries(network: Vct, seen: dict[str, Any]) -> dict[str, Tensor]:
    block = network.sem_seg_head.predictor.visual_query_block
    mixed = seen[f"{BLOCK}.query_mixer"].transpose(1, 2)
    prompted = seen.get(f"{BLOCK}.pre_attn", mixed)
    features = seen["sem_seg_head.pixel_decoder"][1]
    owner = block.assign_attn.owner(prompted, block.pre_proj(features).flatten(2).transpose(1, 2))
    queries = torch.arange(network.config.queries)
    return {
        "query_mixed": mixed,
        "query_prompted": prompted,
        "visual_query": seen[BLOCK],
        "assigned": owner.unflatten(-1, features.shape[2:]),
        "assigned_count": (owner[:, None] == queries[:, None]).sum(-1),
    }
