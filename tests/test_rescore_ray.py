"""A Ray cluster of two nodes on loopback writes what one process does, also when a node is killed in the middle."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rescore_runs import copy, files_of, write_benchmark

from coprop_plugin.errors import CoPropError
from coprop_plugin.rescore import RunFolder, ray_cluster
from coprop_plugin.rescore.ray_cluster import MAX_TRIES, Crew, RayCluster, check_head, check_node, look_around
from coprop_plugin.rescore.worker import Outcome

COPROP = (sys.executable, "-m", "coprop_plugin.cli.main", "rescore")
RAY = Path(sys.executable).parent / "ray"
METHODS, VIDEOS = ("lag-1", "flicker-2"), 16


class Cluster:
    """Two nodes with one CPU each, a token and a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.port = 20000 + secrets.randbelow(10000)
        self.address = f"127.0.0.1:{self.port}"
        home = folder / "home"
        home.mkdir()
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1", "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **token, **quiet, "HOME": str(home)}
        small = ["--num-cpus=1", "--num-gpus=0", f"--object-store-memory={80 << 20}", "--block"]
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self._short()}"]
        self.processes = [self._start(*head, "--min-worker-port=30000", "--max-worker-port=30999", *small)]
        self._wait(lambda: self._alive() >= 1)
        address = f"--address={self.address}"
        self.processes.append(self._start(address, "--min-worker-port=31000", "--max-worker-port=31999", *small))
        self._wait(lambda: self._alive() >= 2)

    def run(self, *command: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*map(str, command)], env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def kill(self, node: int) -> None:
        """End a node, its workers and all, as a power cut would."""
        os.killpg(self.processes[node].pid, signal.SIGKILL)
        self.processes[node].wait()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(RAY), "start", *options],
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _short(self) -> str:
        """Ray's sockets lie in its folder, and a socket's path is short."""
        return f"/tmp/ray-{self.port}"

    def _alive(self) -> int:
        code = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
        code += "print(sum(node['Alive'] for node in ray.nodes()))"
        done = subprocess.run(
            [sys.executable, "-c", code, self.address], env=self.environment, capture_output=True, text=True, timeout=60
        )
        return int(done.stdout) if done.returncode == 0 else 0

    def _wait(self, ready: Any) -> None:
        deadline = time.monotonic() + 90
        while not ready():
            assert time.monotonic() < deadline, "the cluster did not start"
            assert all(process.poll() is None for process in self.processes), "ray start ended"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    import shutil

    made = Cluster(tmp_path_factory.mktemp("ray"))
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(made._short(), ignore_errors=True)


def arguments(root: Path, out: Path) -> list[object]:
    sources = [root / "predictions" / name for name in METHODS]
    return [*COPROP, *sources, "--data-root", root, "--pages", "all", "-o", out]


@pytest.mark.heavy
@pytest.mark.needs("ray")
def test_a_node_dies_in_the_middle(cluster: Cluster, tmp_path: Path) -> None:
    root = write_benchmark(tmp_path / "set", videos=VIDEOS, side=80)
    one = cluster.run(*arguments(root, tmp_path / "one"))
    assert one.wait() == 0
    wrong = {**cluster.environment, "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    on_ray = [*arguments(root, tmp_path / "ray"), "--engine", "ray", "--address", cluster.address]
    refused = subprocess.run([*map(str, on_ray)], env=wrong, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2 and "no Ray cluster can be used at" in refused.stderr, refused.stderr
    assert wrong["RAY_AUTH_TOKEN"] not in refused.stderr

    process, log = cluster.run(*on_ray), tmp_path / "ray/run.log"
    while process.poll() is None and done(log) < 8:
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()
    cluster.kill(1)
    assert process.wait(timeout=240) == 0, process.stderr.read()
    assert done(log) == len(METHODS) * VIDEOS
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "one")

    again = cluster.run(*on_ray)
    told = again.communicate(timeout=180)[1]
    assert again.returncode == 0, told
    assert f"{len(METHODS) * VIDEOS} kept from before" in told


def done(log: Path) -> int:
    return log.read_text().count('"event": "done"') if log.exists() else 0


def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(CoPropError, match="RAY_AUTH_TOKEN"):
        RayCluster()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CoPropError, match=r"coprop-plugin\[ray\]"):
        RayCluster()


@pytest.mark.parametrize("given", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "auto"])
def test_a_head_that_nobody_reaches_is_told_at_once(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: every knock is refused
        port = unused.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        monkeypatch.setattr(ray_cluster.subprocess, "run", lambda *a, **k: pytest.fail("Ray was asked"))
        with pytest.raises(CoPropError, match=f"no Ray cluster answers at '.*127.0.0.1:{port}'.*--address HOST:PORT"):
            check_head(given.format(port))


@pytest.mark.needs("ray")
def test_a_port_of_something_else_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_cluster.KNOCK_S + ray_cluster.HEAD_S < 30
    monkeypatch.setattr(ray_cluster, "HEAD_S", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        with pytest.raises(
            CoPropError, match=r"no Ray cluster can be used at .* lets no driver in within 2 s .*RAY_AUTH_TOKEN"
        ):
            check_head(f"127.0.0.1:{silent.getsockname()[1]}")


def test_other_versions_and_other_disks_are_refused(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.write_text("here")
    seen = look_around(str(probe), str(tmp_path))
    check_node("a", seen, "here", tmp_path)
    with pytest.raises(CoPropError, match=r"node 'a' has other versions: torch 0\.1 \(here "):
        check_node("a", {**seen, "versions": {**seen["versions"], "torch": "0.1"}}, "here", tmp_path)
    for told in ({**seen, "probe": None}, {**seen, "probe": "there"}, {**seen, "folder": False}):
        with pytest.raises(CoPropError, match="same paths"):
            check_node("a", told, "here", tmp_path)


class ActorDied(Exception):
    pass


class FakeRay:
    """Actors whose calls are answered at once; a task named in ``deadly`` kills its actor."""

    class exceptions:
        RayActorError, RayTaskError = ActorDied, ZeroDivisionError

    def __init__(self, deadly: set[str]) -> None:
        self.deadly, self.hired, self.killed = deadly, 0, 0

    def hire(self) -> Any:
        self.hired += 1
        return Actor(self)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        if isinstance(reference.answer, Exception):
            raise reference.answer
        return reference.answer

    def kill(self, actor: Any) -> None:
        self.killed += 1


class Reference:
    def __init__(self, answer: object) -> None:
        self.answer = answer


class Actor:
    def __init__(self, ray: FakeRay) -> None:
        self.ready = Remote(lambda: True)
        self.work = Remote(lambda task: ActorDied() if task in ray.deadly else Outcome(task, "done"))


class Remote:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def remote(self, *given: object) -> Reference:
        return Reference(self.answer(*given))


def test_a_video_that_kills_its_workers_is_given_up() -> None:
    ray = FakeRay({"b"})
    crew = Crew(ray, ray.hire, size=2)
    found = dict(crew.outcomes(["a", "b", "c", "d"]))  # type: ignore[arg-type]
    assert found["b"] is None and {name for name, outcome in found.items() if outcome} == {"a", "c", "d"}
    assert ray.hired <= 2 + MAX_TRIES


def test_actors_end_with_the_run() -> None:
    ray = FakeRay(set())
    crew = Crew(ray, ray.hire, size=2)
    assert [task for task, _ in crew.outcomes(["a", "b", "c"])] == ["a", "b", "c"]  # type: ignore[arg-type]
    crew.end()
    assert ray.killed == ray.hired == 2


def test_a_given_up_video_stands_in_the_folder(tmp_path: Path) -> None:
    from rescore_runs import plan_of

    from coprop_plugin.rescore.ray_cluster import _given_up

    root = write_benchmark(tmp_path / "set", videos=1)
    task, folder = plan_of(copy(root, tmp_path / "data")).tasks()[0], RunFolder(tmp_path / "out")
    folder.path.mkdir()
    outcome = _given_up(folder, task)
    assert outcome.status == "failed"
    assert json.loads(folder.failure(task).read_text())["error"] == outcome.error
