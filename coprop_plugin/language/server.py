"""Language models that hear, and see, behind any OpenAI-compatible server: vLLM, llama.cpp, ``transformers serve``, the cloud."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, get_args

from ..errors import CoPropError, unknown_name
from .chat import SoundForm, chat
from .model import Answer, AudioLanguageModel, BitList, ModelError, Request
from .transport import AnswerTooLarge, AnswerTooSlow, check_url, open_client, read_completion, within

KEY_VARIABLE = "COPROP_LM_KEY"
MAX_BYTES = 1 << 20
Constrained = Literal["auto", "structured_outputs", "guided_regex", "json_schema", "none"]
Delivery = Literal["whole", "streamed"]
KINDS = ("structured_outputs", "guided_regex", "json_schema", "none")  # vLLM >= 0.12, vLLM < 0.12, portable, free
REFUSED_FIELD = (400, 422)  # what servers say to a field that they do not know
TRANSIENT = (408, 409, 429)
NOT_THERE = (404, 405, 410, 501)  # what servers say of a path that they do not have
ROOM_TO_THINK = 16  # times the longest answer, for a model that thinks before it answers

_log = logging.getLogger("coprop_plugin")


class ServerModel(AudioLanguageModel):
    """A model on a server; the sound is sent as a wav of 16 bits and 16 kHz.

    Retries with backoff after 408, 409, 429, 5xx and broken connections. A constraint that the server refuses, or
    takes and does not keep (servers ignore fields that they do not know), is replaced by the next kind, at last by
    none, and stays so.

    Args:
        url: base of the API, as ``http://127.0.0.1:8000/v1``.
        model: its name there; by default the only one that the server lists.
        constrained: how answers are constrained; ``auto`` tries all kinds.
        delivery: ``whole``, or ``streamed`` for services that answer no other way (Alibaba's Qwen-Omni).
        sound: the wav as ``base64`` alone, or as a ``data_url`` (as Alibaba wants it).
        timeout_s, retries, in_flight, max_bytes: limits of a request, its repetitions, requests at a time, bytes read.
        max_new_tokens, temperature: longest answer; temperature of samples (greedy without a seed).

    The key, if one is needed, is taken from the environment variable ``COPROP_LM_KEY`` and kept nowhere else.

    Raises:
        CoPropError: no URL, or one that would carry the key in the clear.
        MissingExtra: ``openai`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        constrained: Constrained = "auto",
        delivery: Delivery = "whole",
        sound: SoundForm = "base64",
        timeout_s: float = 60.0,
        retries: int = 2,
        in_flight: int = 4,
        max_bytes: int = MAX_BYTES,
        max_new_tokens: int = 128,
        temperature: float = 0.7,
    ) -> None:
        if constrained not in ("auto", *KINDS):
            raise unknown_name("constraint of a server", constrained, ("auto", *KINDS))
        if delivery not in get_args(Delivery):
            raise unknown_name("delivery of answers", delivery, get_args(Delivery))
        if sound not in get_args(SoundForm):
            raise unknown_name("form of the sound", sound, get_args(SoundForm))
        if not (timeout_s > 0 and retries >= 0 and in_flight >= 1 and max_bytes >= 1 and max_new_tokens >= 1):
            raise CoPropError("timeout_s, in_flight, max_bytes and max_new_tokens are positive, retries 0 or more.")
        key = os.environ.get(KEY_VARIABLE) or None
        self.url = check_url(url, has_key=key is not None)
        self._client, self._broken = open_client(
            self.url, key=key, timeout_s=timeout_s, retries=retries, max_bytes=max_bytes
        )
        self._key, self._named, self._timeout_s = key, model, timeout_s
        self.constrained, self.in_flight, self.delivery, self.sound = constrained, in_flight, delivery, sound
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self._kinds: list[str] = list(KINDS) if constrained == "auto" else list(dict.fromkeys([constrained, "none"]))
        self._slots, self._lock, self._told = threading.BoundedSemaphore(in_flight), threading.Lock(), False

    @property
    def identity(self) -> str:
        """Address and model. The server tells no revision: a model exchanged under its own name is not noticed."""
        decoding = f"tokens={self.max_new_tokens},temperature={self.temperature},constrained={self.constrained}"
        return f"server:{self.url}#{self.model_name()}:{decoding}"

    @property
    def description(self) -> str:
        return f"{self.model_name()} at {self.url}"

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Send the questions, ``in_flight`` at a time.

        A ``ModelError`` stands where the server broke down, took too long, or its answer is no chat completion.

        Raises:
            CoPropError: nothing listens there, or it refuses key, model or path.
        """
        self._tell("sound" if not any(request.pictures for request in requests) else "frames and sound")
        if len(requests) == 1:
            return [self._reply(requests[0])]
        with ThreadPoolExecutor(max_workers=self.in_flight) as pool:
            return list(pool.map(self._reply, requests))

    def _tell(self, what: str) -> None:
        with self._lock:
            if not self._told:
                _log.warning("the %s of your clips %s sent to %s", what, "is" if what == "sound" else "are", self.url)
                self._told = True

    def _reply(self, request: Request) -> Answer | ModelError:
        try:
            return self._ask(request)
        except ModelError as error:
            return error

    def _ask(self, request: Request) -> Answer:
        body: dict[str, Any] = {
            "model": self.model_name(),
            "messages": chat(request, sound=self.sound),
            "max_tokens": self.max_new_tokens,
            "temperature": 0.0 if request.seed is None else self.temperature,
        }
        if self.delivery == "streamed":
            body |= {"stream": True, "modalities": ["text"]}
        if request.seed is not None:
            body["seed"] = request.seed
        if request.constraint is None:
            return self._answer(body)
        body["max_tokens"] = max(self.max_new_tokens, request.constraint.most_tokens)
        return self._ask_constrained(body, request.constraint)

    def _ask_constrained(self, body: dict[str, Any], constraint: BitList) -> Answer:
        """The answer under the first kind of constraint that the server takes and keeps; the kinds before are dropped."""
        answer: Answer | None = None
        for kind in tuple(self._kinds):
            try:
                # A server that ignored the constraint has answered without one already.
                if kind != "none" or answer is None:
                    answer = self._answer(body | _constraint(kind, constraint))
            except _Refused as refused:
                if kind == "none":
                    raise CoPropError(str(refused)) from None
                continue
            kept = constraint.is_kept_by(answer.text)
            if kind == "none" or kept:
                with self._lock:
                    self._kinds = self._kinds[self._kinds.index(kind) :] if kind in self._kinds else self._kinds
                return replace(answer, unfinished=answer.unfinished and not kept)
        raise AssertionError("the kind 'none' ends the loop")

    def _answer(self, body: dict[str, Any]) -> Answer:
        """The answer to a question; one that was cut off by its length is asked for again, with room to think."""
        data = self._send(body)
        if _finish(data) == "length":
            with suppress(_Refused):  # more than the server allows
                data = self._send(body | {"max_tokens": ROOM_TO_THINK * body["max_tokens"]})
        return Answer(self._text(data), unfinished=_finish(data) == "length")

    def model_name(self) -> str:
        """The model's name on the server: as given, or the only one that it lists (asked once).

        Raises:
            CoPropError: none was given, and the server lists several.
        """
        if self._named is None:
            try:
                listed = self._read(lambda: self._client.models.with_raw_response.list()).get("data")
            except (ModelError, _NotThere):
                listed = None  # many servers of one model have no such list; the question itself shows whether it works
            rows = listed if isinstance(listed, list) else []
            names = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
            if len(names) > 1:
                raise CoPropError(f"{self.url} has several models, name one (--lm-model): {', '.join(names)[:500]}")
            self._named = names[0] if names else "default"  # servers of one model may list none and take any name
        return self._named

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        known = {"model", "messages", "max_tokens", "temperature", "seed", "response_format", "stream", "modalities"}
        extra = {name: value for name, value in body.items() if name not in known}
        stated = {name: value for name, value in body.items() if name in known}
        return self._read(lambda: self._client.chat.completions.with_raw_response.create(**stated, extra_body=extra))

    def _read(self, call: Any) -> dict[str, Any]:
        """The JSON object that a call gives; the client's errors in our words, without what it sent."""
        import openai

        try:
            with self._slots:
                data = within(lambda: read_completion(call().http_response), self._timeout_s)
        except openai.APIStatusError as error:
            said = self._redacted(error.response.text[:300])
            if error.status_code in REFUSED_FIELD:
                raise _Refused(f"{self.url} refuses the question ({error.status_code}): {said}") from None
            if error.status_code in TRANSIENT or error.status_code >= 500:
                raise ModelError(f"{self.url} answers {error.status_code}: {said}") from None
            kind = _NotThere if error.status_code in NOT_THERE else CoPropError
            raise kind(f"{self.url} answers {error.status_code}: {said}") from None
        except openai.APIConnectionError as error:
            raise self._connection_error(error.__cause__ or error) from None
        except (AnswerTooLarge, AnswerTooSlow, self._broken) as error:
            raise self._connection_error(error) from None
        except (ValueError, RecursionError):
            raise ModelError(f"{self.url}: the answer is no JSON.") from None
        if not isinstance(data, dict):
            raise ModelError(f"{self.url}: the answer is no JSON object.")
        return data

    def _connection_error(self, error: BaseException) -> CoPropError:
        kind = type(error).__name__
        if isinstance(error, AnswerTooLarge):
            return ModelError(f"{self.url}: the answer is larger than is read, or packed.")
        if isinstance(error, AnswerTooSlow) or "Timeout" in kind:
            return ModelError(f"{self.url}: no answer in time.")
        said = self._redacted(str(error))[:200]
        if kind == "ConnectError":
            return CoPropError(f"nothing answers at {self.url} ({said}); is the server up?")
        return ModelError(f"{self.url}: the connection broke ({said}).")

    def _redacted(self, text: str) -> str:
        """A server may echo what it was sent."""
        return text.replace(self._key, "***") if self._key else text

    def _text(self, data: dict[str, Any]) -> str:
        try:
            content = data["choices"][0]["message"]["content"]
            if isinstance(content, list):  # some servers answer in blocks, as they are asked
                content = "".join(block.get("text", "") for block in content)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ModelError(f"{self.url}: the answer is no chat completion.") from None
        if content is not None and not isinstance(content, str):
            raise ModelError(f"{self.url}: the answer holds no text.")
        return self._redacted(content or "")


class _Refused(CoPropError):
    """The server does not take the question in this form."""


class _NotThere(CoPropError):
    """The server has no such path."""


def _finish(data: dict[str, Any]) -> str | None:
    """Why the answer ended (``length``: it was cut off); ``None`` where the server does not say."""
    try:
        reason = data["choices"][0]["finish_reason"]
    except (KeyError, IndexError, TypeError):
        return None
    return reason if isinstance(reason, str) else None


def _constraint(kind: str, constraint: BitList) -> dict[str, Any]:
    """The field of the request's body that asks for the list."""
    if kind == "structured_outputs":
        return {"structured_outputs": {"regex": constraint.regex}}
    if kind == "guided_regex":
        return {"guided_regex": constraint.regex}
    if kind == "json_schema":
        schema = {"name": "control_points", "strict": True, "schema": constraint.schema}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {}
