"""SAM 2 and EdgeTAM with few, random weights, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIDE_PX = 64
_WIDTH, _MEMORY_WIDTH = 128, 64  # the models run with memories of this width alone, half of the rest or less


def build(kind: str, folder: Path) -> Path:
    """A model of transformers, saved; ``kind`` is ``sam2`` or ``edgetam``."""
    import transformers

    name = {"sam2": "Sam2Video", "edgetam": "EdgeTamVideo"}[kind]
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE_PX, SIDE_PX],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        global_attention_blocks=[3],
        window_size_per_stage=[4, 4, 4, 4],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=_WIDTH,
    )
    rest: dict[str, Any] = {
        "prompt_encoder_config": {"hidden_size": _WIDTH, "image_size": SIDE_PX},
        "mask_decoder_config": {"hidden_size": _WIDTH, "mlp_dim": 64, "iou_head_hidden_dim": 16},
        "memory_attention_hidden_size": _WIDTH,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": _WIDTH,
        "mask_downsampler_embed_dim": _WIDTH,
        "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": 64,
    }
    if kind == "edgetam":
        rest |= {
            "memory_attention_rope_k_sizes": [2, 2],
            "perceiver_resampler_num_latents": 4,
            "perceiver_resampler_num_latents_2d": 4,
            "perceiver_resampler_hidden_size": _MEMORY_WIDTH,
            "perceiver_resampler_attention_head_dim": _MEMORY_WIDTH,
        }
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(vision_config=vision, image_size=SIDE_PX, **rest)
    model = getattr(transformers, f"{name}Model")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # as initialised, masks hardly depend on anything
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20)  # the objects are always seen
    model.save_pretrained(folder)
    return folder
