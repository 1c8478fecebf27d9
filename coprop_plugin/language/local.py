"""Audio language models run here, through transformers: Qwen2-Audio, and the thinkers of Qwen2.5-Omni and Qwen3-Omni.

Tokenizer and feature extractor are loaded on their own: the Omni processors would want torchvision for video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CoPropError, unknown_name
from ..weights.pretrained import (
    fingerprint,
    load_model,
    load_processor,
    model_folder,
    read_chunk_s,
    read_config,
    weight_bytes,
)
from .families import FAMILIES, SYSTEM, Family
from .model import RATE_HZ, Answer, AudioLanguageModel, Message, ModelError, Request

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
LONGEST_WINDOW_S = 30.0  # more frames in one list than this are miscounted anyway
END_OF_TURN = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"  # ends answers too


class LocalModel(AudioLanguageModel):
    """A model from a folder, or from the local cache of the hub. Loaded when the first question comes.

    Args:
        model: a folder, or a hub id that was downloaded before.
        revision: of a hub id.
        device: ``auto`` (a GPU where there is one), or as torch names it.
        dtype: ``auto`` (as saved on a GPU, float32 elsewhere), or one of ``DTYPES``.
        batch_size: questions answered at once.
        max_new_tokens: longest free answer.
        temperature: of samples (a request with a seed).

    Raises:
        CoPropError: no such model (found out without importing torch), or a family that is not supported.
    """

    families: Mapping[str, Family] = FAMILIES
    senses = "audio language"

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 4,
        max_new_tokens: int = 128,
        temperature: float = 0.7,
    ) -> None:
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        if batch_size < 1 or max_new_tokens < 1 or not temperature > 0:
            raise CoPropError("batch_size and max_new_tokens are whole numbers from 1 on, temperature is positive.")
        self.folder = model_folder(model, revision=revision)
        kind = read_config(self.folder)["model_type"]
        if kind not in self.families:
            raise unknown_name(f"{self.senses} model_type", kind, self.families)
        self.family: Family = self.families[kind]
        self.device, self.dtype, self.batch_size = device, dtype, batch_size
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self.window_s = min(LONGEST_WINDOW_S, self._longest_s())
        named = str(model) if not Path(model).expanduser().is_dir() else ""
        # A hub id's folder is called after the commit: both stand in the name.
        self._named = f"{named}@{self.folder.name}" if named else self.folder.name
        self._fingerprint = fingerprint(self.folder)
        self._parts: tuple[Any, Any, Any] | None = None

    def _longest_s(self) -> float:
        """The longest sound that the model takes."""
        return read_chunk_s(self.folder)

    @property
    def identity(self) -> str:
        decoding = f"tokens={self.max_new_tokens},temperature={self.temperature},{self.device},{self.dtype}"
        return f"transformers:{self._named}#{self._fingerprint}:{decoding}"

    @property
    def description(self) -> str:
        return f"{self._named} ({self.family.architecture}, {weight_bytes(self.folder) / 1e9:.4f} GB of weights)"

    def load(self) -> tuple[Any, Any, Any]:
        """Model, tokenizer and feature extractor; read once.

        Raises:
            CoPropError: files are missing or damaged, or weights are left over or lacking.
        """
        if self._parts is None:
            self._parts = self._load()
        return self._parts

    def _load(self) -> tuple[Any, Any, Any]:
        from transformers import GenerationConfig

        from ..weights.device import choose_device

        device = choose_device(self.device)
        dtype = self.dtype if self.dtype != "auto" or device.type == "cuda" else "float32"
        tokenizer = load_processor("AutoTokenizer", self.folder, padding_side="left")
        extractor = load_processor("WhisperFeatureExtractor", self.folder)
        model = load_model(self.family.architecture, self.folder, device=device, dtype=dtype)
        if extractor.sampling_rate != RATE_HZ:
            raise CoPropError(f"'{self.folder}' hears {extractor.sampling_rate} Hz; {RATE_HZ} Hz are supported.")
        # A checkpoint's own way of decoding may sample, search in beams, or punish repeated zeros.
        model.generation_config = GenerationConfig()
        return model, tokenizer, extractor

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Answer in batches; questions of one constraint go together, samples one by one so that seeds hold.

        A ``ModelError`` stands where a sound is too long, or the scores are no numbers.

        Raises:
            CoPropError: the model cannot be loaded, or there is not memory enough.
        """
        self.load()
        batches: dict[tuple[Any, ...], list[int]] = {}
        for i, request in enumerate(requests):
            alone = () if request.seed is None else (i,)
            batches.setdefault((request.constraint, *alone), []).append(i)
        answers: dict[int, Answer | ModelError] = {}
        for places in batches.values():
            for start in range(0, len(places), self.batch_size):
                chosen = places[start : start + self.batch_size]
                answers.update(zip(chosen, self._answers([requests[i] for i in chosen]), strict=True))
        return [answers[i] for i in range(len(requests))]

    def _answers(self, requests: list[Request]) -> list[Answer | ModelError]:
        """The answers of a batch; where it fails, each question is put alone."""
        import torch

        try:
            return list(self._generate(requests))
        except ModelError as error:
            return [error] if len(requests) == 1 else [a for request in requests for a in self._answers([request])]
        except torch.OutOfMemoryError as error:
            raise CoPropError(
                f"the model in '{self.folder}' finds no memory for {len(requests)} questions at once; lower batch_size, "
                "or take dtype=bfloat16."
            ) from error

    def _generate(self, requests: list[Request]) -> list[Answer]:
        import torch
        from transformers import GenerationConfig

        from .bit_list import BitListProcessor, NumbersOnly

        model, tokenizer, _ = self.load()
        inputs = self._inputs(requests)
        prompt_tokens = inputs["input_ids"].shape[1]
        end_id, constraint, seed = (
            tokenizer.convert_tokens_to_ids(END_OF_TURN),
            requests[0].constraint,
            requests[0].seed,
        )
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_id
        ends = [end_id, *tokenizer.convert_tokens_to_ids([END_OF_TEXT])]
        bits = constraint and BitListProcessor(tokenizer, constraint, prompt_tokens=prompt_tokens, end_id=end_id)
        sampled = {} if seed is None else {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
        config = GenerationConfig(
            max_new_tokens=len(bits.plan) if bits else self.max_new_tokens,
            eos_token_id=[end for end in ends if end is not None],
            pad_token_id=pad_id,
            **(sampled or {"do_sample": False}),
        )
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            if seed is not None:
                torch.manual_seed(seed)
            written = model.generate(**inputs, generation_config=config, logits_processor=[bits or NumbersOnly()])
        texts = tokenizer.batch_decode(written[:, prompt_tokens:], skip_special_tokens=True)
        ended = [bits is not None or any(int(token) in ends for token in row[prompt_tokens:]) for row in written]
        return [
            Answer(text.strip(), bits.p_change(i) if bits else None, unfinished=not ended[i])
            for i, text in enumerate(texts)
        ]

    def _inputs(self, requests: list[Request]) -> dict[str, torch.Tensor]:
        """Prompts padded on the left, features of each sound, on the model's device."""
        model, tokenizer, extractor = self.load()
        longest_s = max(len(request.audio) for request in requests) / RATE_HZ
        if longest_s > extractor.chunk_length + 1e-6:
            raise ModelError(
                f"a sound of {longest_s:.1f} s, but this model hears {extractor.chunk_length} s; window it."
            )
        sounds = [np.pad(r.audio, (0, max(0, RATE_HZ // 10 - len(r.audio)))) for r in requests]
        heard = extractor(
            sounds,
            sampling_rate=RATE_HZ,
            return_attention_mask=True,
            padding=self.family.padding,
            return_tensors="pt",
        )
        frames = heard["attention_mask"].sum(-1).tolist()
        texts = [self.render(r.messages, self.family.num_tokens(int(n))) for r, n in zip(requests, frames, strict=True)]
        tokens = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        return {
            "input_ids": tokens["input_ids"].to(model.device),
            "attention_mask": tokens["attention_mask"].to(model.device),
            "input_features": heard["input_features"].to(model.device, model.dtype),
            "feature_attention_mask": heard["attention_mask"].to(model.device),
        }

    def render(self, messages: Sequence[Message], num_tokens: int) -> str:
        """The conversation in the chat form that all these models share; texts cannot forge its marks."""
        sound = self.family.sound.replace(self.family.token, self.family.token * num_tokens)
        turns = [f"<|im_start|>system\n{SYSTEM}{END_OF_TURN}\n"]
        for message in messages:
            heard = sound if message.audio == "heard" else ""
            turns.append(f"<|im_start|>{message.role}\n{heard}{message.text.replace('<|', '< |')}{END_OF_TURN}\n")
        return "".join(turns) + "<|im_start|>assistant\n"
