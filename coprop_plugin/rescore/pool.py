"""What an engine is, and the one that is always there: tasks worked off here, or by processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Protocol

from ..errors import CoPropError
from ..files import Lock
from .folder import RunFolder
from .plan import RunPlan, Task
from .worker import Outcome, Worker

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_AHEAD = 4  # tasks a worker that are handed out at most, so that a long list costs no memory


class Executor(Protocol):
    """Works off the tasks of a run. Which engine does it changes no byte of the run."""

    def work_off(
        self, plan: RunPlan, folder: RunFolder, tasks: Sequence[Task], *, lock: Lock, retry_failed: bool
    ) -> Iterator[Outcome]:
        """The outcome of every task, as they come.

        Args:
            plan, folder: what is done, and where it is written.
            tasks: which of it.
            lock: the folder's; processes that can hold it too do.
            retry_failed: try again what failed in an earlier run.

        Raises:
            CoPropError: the engine cannot work, or its workers were killed.
            OSError: the disk is full.
        """
        ...


class Processes:
    """The tasks are done here, or by several processes of this machine.

    Args:
        workers: processes; with one it is done here.

    Raises:
        CoPropError: fewer than one worker.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise CoPropError(f"at least one worker is needed, got {workers}.")
        self.workers = workers

    def work_off(
        self, plan: RunPlan, folder: RunFolder, tasks: Sequence[Task], *, lock: Lock, retry_failed: bool
    ) -> Iterator[Outcome]:
        if self.workers == 1:
            yield from map(Worker(plan, folder, retry_failed=retry_failed), tasks)
            return
        with _single_threaded():
            pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),  # a fork would take over threads and open decoders
                initializer=_start,
                initargs=(plan, folder, lock, retry_failed),
            )
            try:
                yield from _outcomes(pool, iter(tasks), ahead=_AHEAD * self.workers)
            except BrokenProcessPool as error:
                raise CoPropError(
                    "a worker process was killed, most likely because memory ran out. What was finished is whole: run "
                    f"the same command again, with fewer than {self.workers} workers."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _outcomes(pool: ProcessPoolExecutor, tasks: Iterator[Task], *, ahead: int) -> Iterator[Outcome]:
    running: set[Future[Outcome]] = set()
    while True:
        running |= {pool.submit(_work, task) for task in islice(tasks, ahead - len(running))}
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


class _single_threaded:
    """Processes that start inside compute with one thread each: more would fight over the cores."""

    def __enter__(self) -> None:
        self._set = [name for name in THREAD_VARIABLES if name not in os.environ]
        os.environ.update(dict.fromkeys(self._set, "1"))

    def __exit__(self, *_: object) -> None:
        for name in self._set:
            os.environ.pop(name, None)


_worker: Worker | None = None
_lock: Lock | None = None


def _start(plan: RunPlan, folder: RunFolder, lock: Lock, retry_failed: bool) -> None:
    """In a new process: hold the folder's lock, end with the run, and get ready."""
    global _worker, _lock
    _lock = lock
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(plan, folder, retry_failed=retry_failed)


def _end_with_parent() -> None:
    """A run that is killed must not go on writing in its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _work(task: Task) -> Outcome:
    assert _worker is not None
    return _worker(task)
