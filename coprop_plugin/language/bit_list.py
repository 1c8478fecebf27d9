"""Constrained decoding: a language model that can write nothing but ``[1, b, b, …]``."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LogitsProcessor

from ..errors import CoPropError
from .model import BitList, ModelError


def check_numbers(scores: torch.Tensor) -> None:
    """Refuse scores that are no numbers: a model of damaged weights, or of a dtype too small for it, writes anything.

    Raises:
        ModelError: NaN or infinite scores.
    """
    if not torch.isfinite(scores).all():
        raise ModelError("the model gave no numbers (NaN or infinite scores); try another dtype, as float32.")


class NumbersOnly(LogitsProcessor):
    """Free decoding, as long as the model's scores are numbers."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        check_numbers(scores)
        return scores


class BitListProcessor(LogitsProcessor):
    """Allows exactly ``[1, b, …, b]`` of T values, then the end of the turn; keeps P(1) of each value.

    Args:
        tokenizer: digits must be tokens of their own, as Qwen's split them.
        constraint: T.
        prompt_tokens: length of the prompts, equal over the batch.
        end_id: the token that ends a turn.

    Raises:
        CoPropError: the tokenizer joins digits.
    """

    def __init__(self, tokenizer: Any, constraint: BitList, *, prompt_tokens: int, end_id: int) -> None:
        def encode(text: str) -> list[int]:
            return tokenizer.encode(text, add_special_tokens=False)

        zero, one = encode("0"), encode("1")
        if len(zero) != 1 or len(one) != 1:
            raise CoPropError("this tokenizer writes '0' and '1' as several tokens; decode without the constraint.")
        self.bits = [zero[0], one[0]]
        opening, comma, closing = ([[token] for token in encode(text)] for text in ("[", ", ", "]"))
        self.plan = [*opening, one]
        for _ in range(constraint.length - 1):
            self.plan += [*comma, self.bits]
        self.plan += [*closing, [end_id]]
        self.prompt_tokens = prompt_tokens
        self._p_change: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        allowed = self.plan[min(input_ids.shape[1] - self.prompt_tokens, len(self.plan) - 1)]
        if len(allowed) == 2:
            self._p_change.append(torch.softmax(scores[:, self.bits].double(), dim=-1)[:, 1])
        check_numbers(scores[:, allowed])
        constrained = torch.full_like(scores, float("-inf"))
        constrained[:, allowed] = scores[:, allowed]
        return constrained  # type: ignore[return-value]

    def p_change(self, row: int) -> tuple[float, ...]:
        """``(T,)``: P(control point) of a row of the batch, given the values before; the first is 1."""
        return (1.0, *(float(p[row]) for p in self._p_change))
