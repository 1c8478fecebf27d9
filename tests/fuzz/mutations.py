"""Seeded changes of a file's bytes, of a JSON document's values, or of what the file is."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 5, 255, 40000, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "no", "\x1b[31m", "[/b]", "../../x", "/dev/zero", "\ud800", "a" * 5000, "\x00", [], [1], [[]], {}, {"a": 1}, [None],
    [1, 2, "x"], {"name": "x"},
)  # fmt: skip
TEXTS = (
    b"[" * 100_000, b"9" * 6000, b'{"a":1,"a":2}', b"\xff\xfe\x00", b"null", b"", b"[NaN, 1e999]", b'"\\ud800"',
    b"a: &x [*x]\n", b"- " * 3000, b"{}", b"\x00" * 100, "é".encode("latin-1"),
)  # fmt: skip


def mutate(path: Path, rng: random.Random, *, document: bool) -> str:
    """Change the file at ``path`` in place; returns what was done."""
    if rng.random() < 0.03:
        return replace_by_odd(path, rng)
    content = path.read_bytes()
    if document:
        choice = rng.random()
        if choice < 0.6 and (changed := change_value(content, rng)) is not None:
            path.write_bytes(changed)
            return "value"
        if choice < 0.75:
            path.write_bytes(rng.choice(TEXTS))
            return "text"
    path.write_bytes(change_bytes(content, rng))
    return "bytes"


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, repeat, insert or blank a piece."""
    data = bytearray(content)
    size = max(len(data), 1)
    kind = rng.choice(("flip", "flip", "flip", "cut", "repeat", "insert", "blank", "head", "number"))
    at = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(min(size, 200))
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 1, 4, 30))):
            place = rng.randrange(size) if rng.random() < 0.7 else rng.randrange(min(size, 100))
            if data:
                data[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(size) :]
    elif kind == "repeat":
        data[at:at] = data[at : at + rng.choice((1, 16, 400))] * rng.choice((1, 3))
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.choice((1, 8, 100)))
    elif kind == "blank":
        data[at : at + rng.choice((4, 64))] = bytes(rng.choice((4, 64)))
    elif kind == "head":
        del data[: rng.choice((1, 8, 64))]
    else:
        data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(data)


def change_value(content: bytes, rng: random.Random) -> bytes | None:
    """Put a nasty value somewhere into a JSON document, take one away or add one; ``None`` where it is no JSON."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    for _ in range(rng.choice((1, 1, 2))):
        value = _changed(value, rng)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.05:
            return {**value, "wings": rng.choice(NASTY)}
        return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    return rng.choice(NASTY)


def replace_by_odd(path: Path, rng: random.Random) -> str:
    """A folder, a pipe, a device, a loop or an empty file in its place."""
    kind = rng.choice(("folder", "pipe", "device", "loop", "empty", "sparse", "missing"))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "empty":
        path.touch()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(8 << 30)
    return kind
