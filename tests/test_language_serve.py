"""A real HTTP round trip: ``transformers serve`` on loopback with a tiny model, asked by our client."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_language
from tiny_language import tone

from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.language.model import BitList, Message
from coprop_plugin.language.server import ServerModel
from coprop_plugin.structures import Sound

START_S = 180.0

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.needs("serve"),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "accelerate", "soxr")),
        reason="transformers serve needs fastapi, uvicorn, accelerate and soxr",
    ),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tiny_language.qwen2_audio(tmp_path_factory.mktemp("served") / "tiny-qwen2-audio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder.parent / "log").open("w+")
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        deadline_s = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline_s:
                log.seek(0)
                pytest.fail(f"transformers serve did not start: {log.read()[-2000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def test_the_sound_arrives_and_the_refused_constraint_gives_way(served: tuple[str, Path]) -> None:
    url, folder = served
    model = ServerModel(url, model=str(folder), max_new_tokens=8, timeout_s=120.0)
    talk = [Message("user", "Describe it.", "heard")]
    answers = [model.chat(talk, tone(5, hz), BitList(5)).text for hz in (200, 4000)]
    assert all(isinstance(answer, str) and answer for answer in answers)
    assert model._kinds == ["none"]  # the first two kinds are refused with 422, the schema is taken and ignored


def test_rcpg_over_http_ends_in_valid_control_points(served: tuple[str, Path]) -> None:
    url, folder = served
    generator = RCPG(server=url, model=str(folder), cache="off", max_new_tokens=8, timeout_s=120.0)
    points = generator(clip_of_sound(Sound(tone(5), 16000)))
    assert len(points) == 5 and points.flags[0]
    # Random weights write no list, and this server constrains nothing: the way to the fallback is told.
    assert points.origin.fallback == "boundary" and points.origin.repairs[-1].startswith("no list: ")
