"""Small encoders and networks for tests of SSP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rule_weights import rule_state
from tiny_language import bert
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from coprop_plugin.adapters.aavs.network import AavsConfig
from coprop_plugin.adapters.ssp.align import AlignKind, TextConfig
from coprop_plugin.adapters.ssp.bert import BertSizes
from coprop_plugin.adapters.ssp.network import PRE_MASKED, Ssp, SspConfig
from coprop_plugin.structures import Clip, Sound, TimeBase

WORDS = "a man is playing the guitar piano dog barks , . microphone".split()
BERT = BertSizes(5 + len(WORDS), 16, 1, 2, 16, 512, 2)
VISION_DIM = 24
SMALL = {
    "embed_dim": 32,
    "depths": (1, 1, 1, 1),
    "heads": (1, 2, 4, 8),
    "window": 4,
    "encoder_layers": 1,
    "encoder_hidden": 32,
    "decoder_layers": 3,
    "decoder_hidden": 32,
    "channels": 64,
}
STAGE_1 = AavsConfig(stage=1, queries=6, classes=2, **SMALL)  # type: ignore[arg-type]
STAGE_2 = AavsConfig(stage=2, queries=8, classes=71, **SMALL)  # type: ignore[arg-type]


def clip_model(folder: Path) -> Path:
    """A CLIP that sees 32 x 32 px in four patches."""
    sizes = {"hidden_size": VISION_DIM, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=32, patch_size=16)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def encoders(folder: Path) -> dict[str, Path]:
    """Options that name both encoders."""
    return {
        "text_encoder": bert(folder / "bert", words=WORDS),
        "vision_encoder": clip_model(folder / "clip"),
    }


def weights(stage: AavsConfig, *, pre_masked: bool = True, align: AlignKind | None = "vta") -> dict[str, torch.Tensor]:
    """A whole SSP's by the rule, its texts let in half."""
    text = None if align is None else TextConfig(BERT, VISION_DIM, align)
    state = rule_state(lambda: Ssp(SspConfig(stage, text)))
    state[PRE_MASKED] = torch.tensor([int(pre_masked)], dtype=torch.uint8)
    if text is not None:
        state["fusion.gate"] = torch.tensor([0.5])
        if align == "vta":
            state["align.text.heads"] = torch.tensor([BERT.num_attention_heads])
    return state


def clip_of(num_frames: int, *, name: str = "video") -> Clip:
    rng = np.random.RandomState(0)
    frames = rng.randint(0, 256, (num_frames, 48, 64, 3)).astype(np.uint8)
    frames[:, :24] = frames[0, :24]  # the upper half stands still
    sound = Sound(rng.standard_normal(16000 * num_frames).astype(np.float32) / 10, 16000)
    return Clip(name, frames, sound, TimeBase.of("avsbench", num_frames))
