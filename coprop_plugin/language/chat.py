"""A conversation in the form of OpenAI's API: pictures as JPEG, the sound as a wav of 16 bits."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any, Literal

import numpy as np
from PIL import Image

from .model import RATE_HZ, Request, pcm16

SoundForm = Literal["base64", "data_url"]
JPEG_QUALITY = 85


def chat(request: Request, *, sound: SoundForm) -> list[dict[str, Any]]:
    """The conversation in the API's form; pictures and sound stand before the text of their turn."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        before: list[dict[str, Any]] = []
        if message.pictures == "seen":
            urls = (f"data:image/jpeg;base64,{jpeg_base64(picture)}" for picture in request.pictures)
            before += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        if message.audio == "heard":
            data = wav_base64(request.audio)
            heard = {"data": f"data:audio/wav;base64,{data}" if sound == "data_url" else data, "format": "wav"}
            before.append({"type": "input_audio", "input_audio": heard})
        plain = message.role == "assistant" and not before
        text = message.text if plain else [*before, {"type": "text", "text": message.text}]
        turns.append({"role": message.role, "content": text})
    return turns


def wav_base64(samples: np.ndarray) -> str:
    """``(N,)`` mono samples at ``RATE_HZ`` as a wav file of 16 bits, in base64."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm16(samples).tobytes())
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def jpeg_base64(picture: np.ndarray) -> str:
    """A picture ``(H, W, 3) uint8`` RGB as a JPEG of quality JPEG_QUALITY, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
