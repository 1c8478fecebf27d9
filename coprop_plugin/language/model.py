"""The one interface of audio language models, and the data that pass through it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..audio.level import level_of, raised
from ..audio.resample import resample
from ..errors import CoPropError
from ..structures import Sound

RATE_HZ = 16_000  # what every model here hears


class ModelError(CoPropError):
    """A model that was reached and did not answer: the server broke down, took too long, or gave no numbers."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``audio`` says whether the clip's sound is heard before the text.

    ``pictures`` likewise whether the request's pictures are seen, before sound and text.
    """

    role: Literal["user", "assistant"]
    text: str
    audio: Literal["none", "heard"] = "none"
    pictures: Literal["none", "seen"] = "none"


@dataclass(frozen=True)
class BitList:
    """The constraint "a list of ``length`` values of 0 or 1, the first one 1", in the forms that servers take."""

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise CoPropError(f"a list of control points has at least one value, got the length {self.length}.")

    @property
    def regex(self) -> str:
        return rf"\[1(, [01]){{{self.length - 1}}}\]"

    @property
    def most_tokens(self) -> int:
        """Enough for the list in any of its forms, whatever the tokenizer."""
        return 4 * self.length + 32

    def is_kept_by(self, text: str) -> bool:
        """Whether a text could have been written under the constraint: a list, or an object of the schema, alone."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return False
        values = data.get("control_points") if isinstance(data, dict) else data
        return isinstance(values, list) and len(values) == self.length and all(v in (0, 1) for v in values)

    @property
    def schema(self) -> dict[str, Any]:
        bits = {"type": "integer", "enum": [0, 1]}
        values = {"type": "array", "items": bits, "minItems": self.length, "maxItems": self.length}
        return {
            "type": "object",
            "properties": {"control_points": values},
            "required": ["control_points"],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        messages: the conversation, the question last.
        audio: ``(N,) float32``, mono, ``RATE_HZ``.
        constraint: what form the answer must have (``None``: free text).
        seed: ``None`` for greedy decoding, else that of one sample.
        prompts: the version of the texts that a conversation is made from; answers of two versions are not mixed.
        pictures: ``(H, W, 3) uint8`` RGB each, for the messages that show them.
    """

    messages: tuple[Message, ...]
    audio: np.ndarray
    constraint: BitList | None = None
    seed: int | None = None
    prompts: str = ""
    pictures: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a model wrote, and its ``(T,)`` probabilities of a control point where the back-end sees them.

    Attributes:
        unfinished: the answer was cut off, by the limit of its length or in the middle of its thinking; what it says
            so far may not be what it would have said.
    """

    text: str
    p_change: tuple[float, ...] | None = None
    unfinished: bool = False


class AudioLanguageModel(ABC):
    """Something that hears a sound and answers questions about it.

    Attributes:
        window_s: the longest sound it hears; longer ones must be cut before.
        calls: questions that went to a model; kept and recorded answers are none.
    """

    window_s: float = 30.0
    calls: int = 0

    @property
    @abstractmethod
    def identity(self) -> str:
        """Model, revision and decoding parameters: answers of two identities are never mixed up. Holds no secret."""

    @property
    def description(self) -> str:
        """What answers, for tables: nobody shall take a toy for a real model."""
        return self.identity

    @abstractmethod
    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Answer several questions, in order; one that got no answer has its error there, and takes no other with it.

        Raises:
            CoPropError: the model is not there, or not allowed to be used.
        """

    def chat(
        self,
        messages: Sequence[Message],
        audio: np.ndarray,
        constraint: BitList | None = None,
        *,
        seed: int | None = None,
    ) -> Answer:
        """Answer one question; see :class:`Request`.

        Raises:
            ModelError: the model was reached and did not answer.
            CoPropError: as :meth:`ask`.
        """
        (answer,) = self.ask([Request(tuple(messages), audio, constraint, seed)])
        if isinstance(answer, ModelError):
            raise answer
        return answer


def model_audio(sound: Sound, start_s: float, stop_s: float) -> np.ndarray:
    """``(N,) float32`` at ``RATE_HZ``: the stretch of sound as models hear it, rounded to 16 bits as a wav holds it."""
    heard = raised(sound.window(start_s, stop_s), level_of(sound).gain_db)
    samples = resample(heard, sound.rate_hz, RATE_HZ)
    return (pcm16(samples) / np.float32(32768)).astype(np.float32)


def pcm16(samples: np.ndarray) -> np.ndarray:
    """``(N,)`` samples in [-1, 1] as little-endian 16-bit integers."""
    return np.clip(np.round(np.asarray(samples, np.float64) * 32768), -32768, 32767).astype("<i2")


def audio_sha256(samples: np.ndarray, rate_hz: int = RATE_HZ) -> str:
    """The identity of a sound: its rate and samples of 16 bits, whatever file they came from."""
    return hashlib.sha256(f"{rate_hz}:".encode() + pcm16(samples).tobytes()).hexdigest()


def pictures_sha256(pictures: Sequence[np.ndarray]) -> str:
    """The identity of pictures: their sizes and values."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.shape}:".encode() + np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()
