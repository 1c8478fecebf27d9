"""Segments of a small clip in the forms that Maskige is made from, and a SAM of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rule_weights import noise

from coprop_plugin.adapters.vct.maskige import coloured, segment_indices
from coprop_plugin.structures import Clip, Sound, TimeBase

FRAMES, HEIGHT, WIDTH = 2, 20, 30


def dog() -> Clip:
    return Clip("dog", noise(FRAMES, HEIGHT, WIDTH, 3), Sound.silence(FRAMES), TimeBase.of("avsbench", FRAMES))


def masks_of(t: int) -> np.ndarray:
    """Two segments of a frame, the smaller one within the larger, in either order."""
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[t % 2, 2:18, 3:25] = True
    masks[1 - t % 2, 5 + t : 9, 6:12] = True
    return masks


def expected(t: int) -> np.ndarray:
    return coloured(segment_indices(masks_of(t), (HEIGHT, WIDTH)))


def code_of(mask: np.ndarray) -> dict:
    """COCO's run lengths, written plainly: zeros first, down the columns."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [-1]])
    edges = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def save_tiny_sam(folder: Path) -> Path:
    """A SAM of random weights, saved as users have theirs."""
    from transformers import (
        SamConfig,
        SamImageProcessorPil,
        SamMaskDecoderConfig,
        SamModel,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    torch.manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 8}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=16, mlp_dim=32, num_pos_feats=8, window_size=4, **sizes, **heads
        ),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=16, mask_input_channels=4, **sizes),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, iou_head_hidden_dim=16, iou_head_depth=2, **heads
        ),
    )
    SamModel(config).save_pretrained(folder)
    side = {"height": 64, "width": 64}
    SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size=side, mask_size={"longest_edge": 64}, mask_pad_size=side
    ).save_pretrained(folder)
    return folder
