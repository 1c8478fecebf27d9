"""Audio language models with a few random weights: real classes, real files, made in a second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniThinkerConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeThinkerConfig

CHUNK_S = 10
_BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]
# The byte alphabet of GPT-2's tokenizer: printable bytes stand for themselves, the others follow after 255.
ALPHABET = sorted([chr(b) for b in _BYTES] + [chr(256 + i) for i in range(256 - len(_BYTES))])
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}


def _tokenizer(*extra: str) -> Qwen2Tokenizer:
    vocab = {token: i for i, token in enumerate(ALPHABET)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocab, merges=[], eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [*MARKS, *extra]})
    return tokenizer


def _extractor() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(
        feature_size=128, sampling_rate=16000, hop_length=160, chunk_length=CHUNK_S, n_fft=400
    )


def bert(folder: Path, *, words: Sequence[str]) -> Path:
    """A text model of width 16 that knows these words."""
    folder.mkdir(exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocab), **sizes)).save_pretrained(folder)
    return folder


def qwen2_audio(folder: Path) -> Path:
    tokenizer = _tokenizer("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2AudioConfig(
        audio_config=Qwen2AudioEncoderConfig(
            num_mel_bins=128,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=64,
            d_model=32,
            max_source_positions=CHUNK_S * 50,
        ),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            max_position_embeddings=4096,
            bos_token_id=None,
            eos_token_id=number("<|im_end|>"),
            pad_token_id=number("<|endoftext|>"),
            **_SMALL,
        ).to_dict(),
        audio_token_index=number("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    Qwen2AudioProcessor(feature_extractor=_extractor(), tokenizer=tokenizer).save_pretrained(folder)
    return folder


def qwen2_5_omni(folder: Path) -> Path:
    marks = [
        "<|AUDIO|>",
        "<|IMAGE|>",
        "<|VIDEO|>",
        "<|audio_bos|>",
        "<|audio_eos|>",
        "<|vision_bos|>",
        "<|vision_eos|>",
    ]
    tokenizer = _tokenizer(*marks)
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2_5OmniThinkerConfig(
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "d_model": 32,
            "output_dim": 32,
            "n_window": 50,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        text_config={
            "vocab_size": len(tokenizer),
            "rope_parameters": _ROPE,
            "pad_token_id": number("<|endoftext|>"),
            "eos_token_id": number("<|im_end|>"),
            **_SMALL,
        },
        audio_token_index=number("<|AUDIO|>"),
        image_token_index=number("<|IMAGE|>"),
        video_token_index=number("<|VIDEO|>"),
        audio_start_token_id=number("<|audio_bos|>"),
        audio_end_token_id=number("<|audio_eos|>"),
        vision_start_token_id=number("<|vision_bos|>"),
        vision_end_token_id=number("<|vision_eos|>"),
    )
    return _save(Qwen2_5OmniThinkerForConditionalGeneration, config, tokenizer, folder)


def qwen3_omni(folder: Path) -> Path:
    sounds = ["<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"]
    pictures = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = _tokenizer(*sounds, *pictures)
    number = tokenizer.convert_tokens_to_ids
    config = Qwen3OmniMoeThinkerConfig(
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 16,
            "output_dim": 32,
            "downsample_hidden_size": 8,
            "n_window": 50,
            "n_window_infer": 100,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "rope_parameters": _ROPE,
            "moe_intermediate_size": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "head_dim": 16,
            **_SMALL,
        },
        audio_token_id=number("<|audio_pad|>"),
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        audio_start_token_id=number("<|audio_start|>"),
        audio_end_token_id=number("<|audio_end|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    return _save(Qwen3OmniMoeThinkerForConditionalGeneration, config, tokenizer, folder)


def _save(architecture: type, config: object, tokenizer: Qwen2Tokenizer, folder: Path) -> Path:
    torch.manual_seed(0)
    architecture(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _extractor().save_pretrained(folder)
    return folder


def whole_omni(thinker: Path, folder: Path) -> Path:
    """A checkpoint as published: the thinker's config and weights under their names, and those of a talker beside."""
    config = json.loads((thinker / "config.json").read_text())
    kind = config["model_type"].removesuffix("_thinker")
    weights = {f"thinker.{name}": value for name, value in load_file(thinker / "model.safetensors").items()}
    weights["talker.model.embed_tokens.weight"] = torch.zeros(3, 2)
    shutil.copytree(thinker, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "thinker_config": config}))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


MAKERS = {"qwen2_audio": qwen2_audio, "qwen2_5_omni": qwen2_5_omni, "qwen3_omni": qwen3_omni}


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    """A quiet tone at 16 kHz."""
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16000)) / 16000)).astype(np.float32)


def qwen2_vl(folder: Path) -> Path:
    """A model that sees: pictures of 28 px a token."""
    tokenizer = _tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "rope_parameters": _ROPE, **_SMALL},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    torch.manual_seed(0)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=28 * 28 * 16).save_pretrained(folder)
    return folder
