"""The model families that can hear, as data: how each is named, shown a sound, and how many tokens a sound takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SYSTEM = "You are a helpful assistant."


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        architecture: the class of transformers.
        sound: how a sound (or, of those that see, a picture) stands in a prompt; ``token`` in it is repeated ``num_tokens(mel frames)`` times.
        padding: how far mel features are padded: Qwen2-Audio's encoder takes whole chunks only.
    """

    architecture: str
    sound: str
    token: str
    num_tokens: Callable[[int], int]
    padding: Literal["max_length", "longest"]


def _tokens_by_halving(mel_frames: int) -> int:
    return ((mel_frames - 1) // 2 + 1 - 2) // 2 + 1


def _tokens_by_chunks(mel_frames: int) -> int:
    """Chunks of 100 mel frames give 13 tokens each, the rest is halved three times."""
    chunks, rest = divmod(mel_frames, 100)
    halved = (rest - 1) // 2 + 1
    return ((halved - 1) // 2 + 1 - 1) // 2 + 1 + 13 * chunks


_QWEN2_AUDIO = Family(
    "Qwen2AudioForConditionalGeneration",
    "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n",
    "<|AUDIO|>",
    _tokens_by_halving,
    "max_length",
)
_QWEN2_5_OMNI = Family(
    "Qwen2_5OmniThinkerForConditionalGeneration",
    "<|audio_bos|><|AUDIO|><|audio_eos|>",
    "<|AUDIO|>",
    _tokens_by_halving,
    "longest",
)
_QWEN3_OMNI = Family(
    "Qwen3OmniMoeThinkerForConditionalGeneration",
    "<|audio_start|><|audio_pad|><|audio_end|>",
    "<|audio_pad|>",
    _tokens_by_chunks,
    "longest",
)

# By the "model_type" of config.json: a whole Omni checkpoint holds its thinker, a saved thinker is one.
FAMILIES = {
    "qwen2_audio": _QWEN2_AUDIO,
    "qwen2_5_omni": _QWEN2_5_OMNI,
    "qwen2_5_omni_thinker": _QWEN2_5_OMNI,
    "qwen3_omni_moe": _QWEN3_OMNI,
    "qwen3_omni_moe_thinker": _QWEN3_OMNI,
}

# Those that see pictures alone; their sound stands for nothing.
SEEING = {
    name: Family(
        architecture, "<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>", lambda frames: 0, "longest"
    )
    for name, architecture in (
        ("qwen2_vl", "Qwen2VLForConditionalGeneration"),
        ("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"),
    )
}
