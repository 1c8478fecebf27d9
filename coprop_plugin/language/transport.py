"""The HTTP client under a server model: no redirects, no account headers of another service, bounded answers."""

from __future__ import annotations

import importlib
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from ..errors import CoPropError, MissingExtra

T = TypeVar("T")
PAUSE_S = 10.0  # the client waits up to 8 s before it asks again
_attempt = threading.local()


class AnswerTooLarge(Exception):
    """More bytes than are read."""


class AnswerTooSlow(Exception):
    """The answer dripped on beyond the time limit."""


@dataclass
class _Clock:
    """When the attempt began whose response has not come yet."""

    since: float | None


def within(call: Callable[[], T], seconds: float) -> T:
    """The result of a call of the client, whose every attempt has one deadline up to its response's body.

    A client's own limit is for each piece that comes: headers that drip in reset it for ever.

    Raises:
        AnswerTooSlow: an attempt took longer; the thread that waits for it ends with its connection.
    """
    clock, ended = _Clock(time.monotonic()), threading.Event()
    box: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        _attempt.clock = clock
        try:
            box.append((call(), None))
        except BaseException as error:  # raised where the call was asked for
            box.append((None, error))
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    while not ended.wait(0.1):
        since = clock.since
        if since is not None and time.monotonic() - since > seconds + PAUSE_S:
            raise AnswerTooSlow
    result, error = box[0]
    if error is not None:
        raise error
    return cast("T", result)


def check_url(url: str, *, has_key: bool) -> str:
    """The base URL of an API, in one form (``/v1`` where no path is given).

    Raises:
        CoPropError: not http(s), with a user, a query or a fragment, or a key would go over the net in the clear.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise CoPropError(f"the server's address is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise CoPropError("the server's address is a URL as http://127.0.0.1:8000/v1 or https://host/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise CoPropError(
            "the server's address holds no user, password, query or fragment; keys come from COPROP_LM_KEY."
        )
    if has_key and parts.scheme != "https" and not is_loopback(url):
        raise CoPropError(f"a key is set, and http://{host} would carry it in the clear; use https, or unset the key.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def is_loopback(url: str) -> bool:
    """Whether the address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_client(
    url: str, *, key: str | None, timeout_s: float, retries: int, max_bytes: int
) -> tuple[Any, type[Exception]]:
    """The official ``openai`` client for a checked URL, and the error of connections that some versions let through.

    Raises:
        MissingExtra: ``openai`` is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise MissingExtra("openai", "serve", "an audio language model on a server") from error
    # Newer clients stand on another library with the same classes than older ones: take the one that it uses.
    base = next(c for c in openai.DefaultHttpxClient.__mro__ if c.__name__ == "Client")
    http = importlib.import_module(base.__module__.partition(".")[0])

    class Bounded(http.SyncByteStream):  # type: ignore[name-defined]
        """A response's bytes, up to a number and a time."""

        def __init__(self, stream: Any) -> None:
            self.stream, self.deadline_s = stream, time.monotonic() + timeout_s

        def __iter__(self) -> Iterator[bytes]:
            read = 0
            for chunk in self.stream:
                read += len(chunk)
                if read > max_bytes:
                    raise AnswerTooLarge
                if time.monotonic() > self.deadline_s:
                    raise AnswerTooSlow
                yield chunk

        def close(self) -> None:
            self.stream.close()

    def without_account(request: Any) -> None:
        # The client adds organisation and project of the user's account at OpenAI from the environment.
        if (clock := getattr(_attempt, "clock", None)) is not None:
            clock.since = time.monotonic()
        for name in [name for name in request.headers if name.lower().startswith("openai-")]:
            del request.headers[name]

    def bound(response: Any) -> None:
        if (clock := getattr(_attempt, "clock", None)) is not None:
            clock.since = None  # the body has a deadline of its own
        if response.headers.get("content-encoding", "identity") != "identity":
            raise AnswerTooLarge  # packed: how large it is cannot be known before it is unpacked
        response.stream = Bounded(response.stream)

    client = openai.DefaultHttpxClient(
        follow_redirects=False,
        trust_env=not is_loopback(url),
        timeout=timeout_s,
        event_hooks={"request": [without_account], "response": [bound]},
    )
    official = openai.OpenAI(
        base_url=url,
        api_key=key or "none",
        http_client=client,
        timeout=timeout_s,
        max_retries=retries,
        default_headers={"Accept-Encoding": "identity"},
    )
    return official, http.TransportError


def read_completion(response: Any) -> Any:
    """The JSON of a response; of a stream of server-sent events, one chat completion with all its pieces.

    Raises:
        ValueError: no JSON, or a stream that broke off.
    """
    content = response.read()
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return json.loads(content)
    lines = (line.strip() for line in content.decode("utf-8").splitlines())
    events = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if not events or events[-1] != "[DONE]":
        raise ValueError("the stream broke off")
    pieces, finish = [], None
    for event in events[:-1]:
        chunk = json.loads(event)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        delta, finish = choice.get("delta"), choice.get("finish_reason") or finish
        piece = delta.get("content") if isinstance(delta, dict) else None
        pieces.append(piece if isinstance(piece, str) else "")
    return {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": finish}]}
