"""The torchrun engine: every rank takes the next video, on one machine or on several that share a file system.

::

    torchrun --nproc-per-node 4 -m coprop_plugin.cli.main rescore … -o runs/x

Rank 0 holds the folder, and makes the tables when all videos are done. The ranks speak through torchrun's own
key-value store; no tensor crosses between them. If a rank dies, torchrun ends the others, and the same command goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from ..errors import CoPropError
from ..files import Lock
from ..store.manifest import digest_of
from .folder import RunFolder
from .plan import RunPlan, Task
from .worker import Outcome, Worker

_BEGIN = timedelta(minutes=10)  # how long a rank waits for rank 0 to take the folder
_POLL_S = 0.05


class Torchrun:
    """One rank of a run that torchrun started; rank 0's is an engine, the others :meth:`follow`.

    Raises:
        CoPropError: torchrun did not start this process.
    """

    def __init__(self) -> None:
        if not started_by_torchrun():
            raise CoPropError(
                "the engine torchrun needs processes that torchrun started: "
                "torchrun --nproc-per-node 4 -m coprop_plugin.cli.main rescore …"
            )
        import torch.distributed as dist

        store, self.rank, self.num_ranks = next(dist.rendezvous("env://"))
        # Ranks that torchrun starts anew must not meet what those before them had written.
        self._store = dist.PrefixStore(f"coprop-rescore/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)

    def work_off(
        self, plan: RunPlan, folder: RunFolder, tasks: Sequence[Task], *, lock: Lock, retry_failed: bool
    ) -> Iterator[Outcome]:
        """Rank 0: as :meth:`Executor.work_off`; the outcomes of the other ranks come as they are reported."""
        self._store.set("begun", digest_of(plan.manifest()))
        worker = Worker(plan, folder, retry_failed=retry_failed)
        missing: set[int] = set()
        known = 0
        for index in self._indices(tasks):
            missing |= set(range(known, index))  # handed out to others meanwhile
            known = index + 1
            yield worker(tasks[index])
            yield from self._reported(tasks, missing)
        missing |= set(range(known, len(tasks)))
        while missing:
            time.sleep(_POLL_S)
            yield from self._reported(tasks, missing)

    def follow(self, plan: RunPlan, folder: RunFolder, *, retry_failed: bool) -> None:
        """Any other rank: work beside rank 0 once it holds the folder.

        Raises:
            CoPropError: this rank reads another data set, other predictions' names or other versions than rank 0.
        """
        self._store.wait(["begun"], _BEGIN)
        if self._store.get("begun").decode() != digest_of(plan.manifest()):
            raise CoPropError(
                f"rank {self.rank} resolves this run to other settings than rank 0: other versions of packages, or "
                "other files under the same paths. All ranks need one environment and one file system."
            )
        worker, tasks = Worker(plan, folder, retry_failed=retry_failed), plan.tasks()
        for index in self._indices(tasks):
            outcome = worker(tasks[index])
            told = [outcome.status, outcome.error, outcome.trace, outcome.wall_s]
            self._store.set(f"outcome/{index}", json.dumps(told))

    def _indices(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Tasks that no other rank has taken, one by one."""
        while (index := self._store.add("next", 1) - 1) < len(tasks):
            yield index

    def _reported(self, tasks: Sequence[Task], missing: set[int]) -> Iterator[Outcome]:
        """Outcomes that have come in; they are forgotten here and in the store."""
        for index in sorted(missing):
            if self._store.check([f"outcome/{index}"]):
                status, error, trace, wall_s = json.loads(self._store.get(f"outcome/{index}"))
                self._store.delete_key(f"outcome/{index}")
                missing.remove(index)
                yield Outcome(tasks[index], status, error, trace, wall_s)


def started_by_torchrun() -> bool:
    """Whether this process is a rank of torchrun's."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= {*os.environ}
