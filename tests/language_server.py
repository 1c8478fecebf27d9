"""A server on loopback that answers like vLLM, llama.cpp or ``transformers serve``, and like broken ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(text: Any) -> dict[str, Any]:
    """The shape that all these servers answer in."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }


@dataclass
class Reply:
    """One HTTP answer; ``cut_after`` closes the connection after so many bytes, ``drip_s`` waits between bytes."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    wait_s: float = 0.0
    drip_s: float = 0.0


def text(answer: Any) -> Reply:
    return Reply(completion(answer))


@dataclass
class Server:
    """Its address, and what it was sent: path, headers and body of each request."""

    url: str
    received: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    @property
    def chats(self) -> list[dict[str, Any]]:
        return [body for path, _, body in self.received if path.endswith("/chat/completions")]


@contextmanager
def serving(
    answer: Callable[[dict[str, Any], int], Reply],
    *,
    models: tuple[str, ...] | None = ("tiny",),
    list_status: int = 200,
) -> Iterator[Server]:
    """Serve ``answer(body, number of the chat request)`` on a free port; ``models`` is ``None``: it has no list."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.received.append((self.path, dict(self.headers), {}))
            listed = [{"id": name, "object": "model"} for name in models or ()]
            self._reply(Reply({"object": "list", "data": listed} if models is not None else {}, status=list_status))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.received.append((self.path, dict(self.headers), body))
            self._reply(answer(body, len(server.chats)))

        def _reply(self, reply: Reply) -> None:
            raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            time.sleep(reply.wait_s)
            try:
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(raw))} | reply.headers
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if reply.drip_s:
                    for byte in raw:
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.drip_s)
                self.wfile.write(raw if reply.cut_after is None and not reply.drip_s else raw[: reply.cut_after or 0])
            except OSError:
                pass  # the client went away, as it should
            self.close_connection = reply.cut_after is not None or bool(reply.drip_s)

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
