"""The Ray engine: an actor for every GPU of a cluster, or for every CPU where it has none. Extra ``ray``.

The driver hands out videos one by one and alone holds the folder and makes the tables. The nodes need this package, in
the driver's versions, and the driver's file system under the same paths: both are looked at before the first video. A
video whose node dies is done again elsewhere; what it had half written is cleared then, as after any other kill.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..files import Lock
from ..store.manifest import versions
from .folder import RunFolder
from .plan import RunPlan, Task
from .worker import Outcome, Worker

MAX_TRIES = 3  # a video that has killed so many workers has failed
LOOK_S = 120.0  # for all nodes to answer what they see
NOTICE_S = 30.0  # for the cluster to notice that a node is dead
START_S = 300.0  # without a single worker left or started
KNOCK_S = 5.0  # for the head's port to open
HEAD_S = 20.0  # for the head to let a driver in
TOKEN_FILE = Path("~/.ray/auth_token")


class RayCluster:
    """Works off a run on a Ray cluster that is there already.

    Args:
        address: ``auto`` (the cluster of this machine), or ``host:port`` of its head.
        workers: actors at most; by default as many as the cluster has GPUs, or CPUs where it has no GPU.

    Raises:
        CoPropError: Ray is not installed, or there is no token that protects the cluster.
    """

    def __init__(self, address: str = "auto", *, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise CoPropError("the engine ray needs the package ray: pip install 'coprop-plugin[ray]'") from error
        told = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
        if os.environ.get("RAY_AUTH_MODE", "token") != "token" or not (told or TOKEN_FILE.expanduser().is_file()):
            raise CoPropError(
                "a Ray cluster runs whatever reaches its port, so a token must protect it: set RAY_AUTH_MODE=token and "
                "the same RAY_AUTH_TOKEN for every `ray start` and for this command."
            )
        self._ray: Any = ray
        self.address, self.workers = address, workers

    def work_off(
        self, plan: RunPlan, folder: RunFolder, tasks: Sequence[Task], *, lock: Lock, retry_failed: bool
    ) -> Iterator[Outcome]:
        """As :meth:`Executor.work_off`; the driver alone holds the lock, and actors end with it."""
        with self._connected():
            self._look_at_nodes(folder)
            resources = self._ray.cluster_resources()
            on_gpu = resources.get("GPU", 0) >= 1
            places = max(1, int(resources.get("GPU" if on_gpu else "CPU", 1)))
            actor = self._ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0, max_task_retries=0)(_Actor)
            here = str(Path.cwd())
            crew = Crew(
                self._ray,
                lambda: actor.remote(plan, folder, retry_failed, here),
                size=min(places, self.workers or places, len(tasks)),
            )
            try:
                for task, outcome in crew.outcomes(tasks):
                    yield outcome or _given_up(folder, task)
            finally:
                crew.end()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        check_head(self.address)
        try:
            self._ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray's own kinds, and those of its transport
            raise CoPropError(
                f"no Ray cluster can be used at '{self.address}': {str(error).strip().splitlines()[0][:300]}. Start one "
                "with `ray start --head`, give --address HOST:PORT, and the RAY_AUTH_TOKEN that it was started with."
            ) from error
        try:
            yield
        finally:
            self._ray.shutdown()

    def _look_at_nodes(self, folder: RunFolder) -> None:
        """Every node must have the driver's versions and see the run's folder."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe, content = folder.path.absolute() / f".probe-{secrets.token_hex(8)}.part", secrets.token_hex(16)
        nodes = {
            n["NodeID"]: n["NodeManagerHostname"] for n in self._ray.nodes() if n["Alive"] and n["Resources"].get("CPU")
        }
        look = self._ray.remote(num_cpus=0, max_retries=0)(look_around)
        probe.write_text(content)
        try:
            seen = {
                node: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                    str(probe), str(Path.cwd())
                )
                for node in nodes
            }
            for node, reference in seen.items():
                if told := self._answer(node, nodes[node], reference):
                    check_node(nodes[node], told, content, folder.path.absolute())
        finally:
            probe.unlink(missing_ok=True)

    def _answer(self, node: str, host: str, reference: Any) -> Mapping[str, Any] | None:
        """What a node sees; ``None`` if it has died meanwhile."""
        try:
            return self._ray.get(reference, timeout=LOOK_S)
        except Exception as error:
            if not isinstance(error, self._ray.exceptions.RayTaskError) and self._is_gone(node):
                return None
            raise CoPropError(
                f"the node '{host}' cannot run this package ({str(error).strip().splitlines()[-1][:300]}). Install the "
                "same coprop-plugin in the environment from which `ray start` was called there."
            ) from error

    def _is_gone(self, node: str) -> bool:
        """Whether the cluster finds a node dead; it takes a while to notice."""
        deadline = time.monotonic() + NOTICE_S
        while any(n["NodeID"] == node and n["Alive"] for n in self._ray.nodes()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


def check_head(address: str) -> None:
    """Find out within half a minute whether a head answers: left to itself, Ray knocks for minutes at a wrong address.

    Args:
        address: as ``ray.init`` takes it; for ``auto`` the one in ``RAY_ADDRESS``, if there is one.

    Raises:
        CoPropError: nothing listens there, or what listens lets no driver in.
    """
    advice = (
        "Start one with `ray start --head`, name it with --address HOST:PORT, give the RAY_AUTH_TOKEN that it was "
        "started with, and see that this machine reaches the port (firewall, host name)."
    )
    given = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    host, colon, port = given.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
        except (OSError, OverflowError) as error:
            raise CoPropError(f"no Ray cluster answers at '{given}' ({error}). {advice}") from error
    join = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"
    try:  # in a process of its own: a driver that hangs in Ray cannot be stopped from within
        subprocess.run([sys.executable, "-c", join, given], timeout=HEAD_S, capture_output=True, check=False)
    except subprocess.TimeoutExpired as error:
        raise CoPropError(
            f"no Ray cluster can be used at '{given}': what listens there lets no driver in within {HEAD_S:g} s (another "
            f"token, or not the head of a cluster). {advice}"
        ) from error


class Crew:
    """Actors that work off tasks; those that die are replaced, and their tasks given to others.

    Args:
        ray: the module, connected.
        hire: starts an actor.
        size: how many at once.
    """

    def __init__(self, ray: Any, hire: Any, *, size: int) -> None:
        self._ray, self._hire, self._size = ray, hire, size
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task]] = {}

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome | None]]:
        """Each task with its outcome; ``None`` for one that has killed its worker ``MAX_TRIES`` times.

        Raises:
            CoPropError: no worker is left, and none could be started.
            Exception: what a worker raised because every other video would meet it too (a full disk).
        """
        waiting, tries = deque(tasks), Counter[Task]()
        while waiting or self._busy:
            self._staff(wanted=len(waiting))
            while waiting and self._idle:
                actor, task = self._idle.pop(), waiting.popleft()
                self._busy[actor.work.remote(task)] = (actor, task)
            ready, _ = self._ray.wait([*self._starting, *self._busy], timeout=START_S)
            if not ready and not self._busy:
                raise CoPropError(f"no worker could be started on the cluster within {START_S:g} s; is it full?")
            for reference in ready:
                if reference in self._starting:
                    self._arrived(reference)
                    continue
                actor, task = self._busy.pop(reference)
                try:
                    outcome = self._ray.get(reference)
                except self._ray.exceptions.RayActorError:
                    tries[task] += 1
                    if tries[task] < MAX_TRIES:
                        waiting.append(task)
                    else:
                        yield task, None
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                else:
                    self._idle.append(actor)
                    yield task, outcome

    def end(self) -> None:
        """End all actors, also those at work."""
        for actor in (*self._starting.values(), *self._idle, *(actor for actor, _ in self._busy.values())):
            self._ray.kill(actor)

    def _staff(self, *, wanted: int) -> None:
        """Start actors where there are too few: one that waits for room holds nobody up."""
        have = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(self._size - have, wanted - len(self._starting) - len(self._idle))):
            actor = self._hire()
            self._starting[actor.ready.remote()] = actor

    def _arrived(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            if found := re.search("cannot begin on .*", str(error)):  # its own words; one whose node died is replaced
                raise CoPropError(f"a worker {found[0]}") from error
        else:
            self._idle.append(actor)


class _Actor:
    """A :class:`Worker` on a node, in the driver's folder, so that relative paths mean the same."""

    def __init__(self, plan: RunPlan, folder: RunFolder, retry_failed: bool, here: str) -> None:
        try:
            os.chdir(here)
            if folder.manifest() != plan.manifest():  # a node that joined after the others were looked at
                raise CoPropError("other versions or another file system than the driver's")
            self._worker = Worker(plan, folder, retry_failed=retry_failed)
        except Exception as error:
            raise RuntimeError(f"cannot begin on {platform.node()}: {type(error).__name__}: {error}") from error

    def ready(self) -> bool:
        return True

    def work(self, task: Task) -> Outcome:
        return self._worker(task)


def look_around(probe: str, folder: str) -> dict[str, Any]:
    """On a node: its versions, what stands in the probe file (``None``: it is not there), and whether a folder is."""
    try:
        content = Path(probe).read_text()
    except OSError:
        content = None
    return {"versions": dict(versions()), "probe": content, "folder": Path(folder).is_dir(), "host": platform.node()}


def check_node(host: str, seen: Mapping[str, Any], content: str, folder: Path) -> None:
    """Compare what a node sees with what the driver does.

    Raises:
        CoPropError: other versions, or another file system.
    """
    mine, theirs = dict(versions()), seen["versions"]
    other = [
        f"{k} {theirs.get(k, 'missing')} (here {mine.get(k, 'missing')})"
        for k in sorted({*mine, *theirs})
        if mine.get(k) != theirs.get(k)
    ]
    if other:
        raise CoPropError(
            f"the node '{host}' has other versions: {', '.join(other)}. Numbers could differ; install the same."
        )
    if seen["probe"] != content or not seen["folder"]:
        raise CoPropError(
            f"the node '{host}' does not see '{folder}' (or the folder of this command): the run's folder, the data and "
            "the predictions must lie on a file system that all nodes mount under the same paths."
        )


def _given_up(folder: RunFolder, task: Task) -> Outcome:
    error = f"its worker was killed {MAX_TRIES} times while at this video, most likely because memory ran out."
    folder.note_failure(task, error)
    return Outcome(task, "failed", error)
