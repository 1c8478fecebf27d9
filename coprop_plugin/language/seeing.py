"""Models run here that see pictures and hear nothing: Qwen2-VL and Qwen2.5-VL.

Tokenizer and image processor are loaded on their own: the whole processor would want torchvision for video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..weights.pretrained import load_model, load_processor
from .families import SEEING, SYSTEM
from .local import END_OF_TURN, LONGEST_WINDOW_S, LocalModel
from .model import Message, ModelError, Request

if TYPE_CHECKING:
    import torch


class SeeingModel(LocalModel):
    """A model from a folder that looks at a request's pictures; its sound is left out, as ``description`` says."""

    families = SEEING
    senses = "vision language"

    def _longest_s(self) -> float:
        return LONGEST_WINDOW_S

    @property
    def description(self) -> str:
        return f"{super().description}, which does not hear"

    def _load(self) -> tuple[Any, Any, Any]:
        from transformers import GenerationConfig

        from ..weights.device import choose_device

        device = choose_device(self.device)
        dtype = self.dtype if self.dtype != "auto" or device.type == "cuda" else "float32"
        tokenizer = load_processor("AutoTokenizer", self.folder, padding_side="left")
        pictures = load_processor("Qwen2VLImageProcessor", self.folder)
        model = load_model(self.family.architecture, self.folder, device=device, dtype=dtype)
        model.generation_config = GenerationConfig()  # a checkpoint's own may sample
        return model, tokenizer, pictures

    def _inputs(self, requests: list[Request]) -> dict[str, torch.Tensor]:
        model, tokenizer, processor = self.load()
        pictures = [picture for request in requests for picture in request.pictures]
        if not pictures:
            raise ModelError("this model answers about pictures, and none was given.")
        seen = processor(pictures, return_tensors="pt")
        counts = (seen["image_grid_thw"].prod(dim=1) // processor.merge_size**2).tolist()
        texts = [self.prompt(request, [counts.pop(0) for _ in request.pictures]) for request in requests]
        tokens = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        pads = tokens["input_ids"] == tokenizer.convert_tokens_to_ids(self.family.token)
        return {
            "input_ids": tokens["input_ids"].to(model.device),
            "mm_token_type_ids": pads.int().to(model.device),  # 1: of a picture
            "attention_mask": tokens["attention_mask"].to(model.device),
            "pixel_values": seen["pixel_values"].to(model.device, model.dtype),
            "image_grid_thw": seen["image_grid_thw"].to(model.device),
        }

    def prompt(self, request: Request, counts: Sequence[int]) -> str:
        """The conversation in Qwen's chat form, each picture as so many tokens; texts cannot forge its marks."""
        shown = "".join(self.family.sound.replace(self.family.token, self.family.token * count) for count in counts)
        turns = [f"<|im_start|>system\n{SYSTEM}{END_OF_TURN}\n", *(_turn(m, shown) for m in request.messages)]
        return "".join(turns) + "<|im_start|>assistant\n"


def _turn(message: Message, shown: str) -> str:
    pictures = shown if message.pictures == "seen" else ""
    return f"<|im_start|>{message.role}\n{pictures}{message.text.replace('<|', '< |')}{END_OF_TURN}\n"
