"""One command line in a forked process with limits on time and memory, and what became of it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CPU_S, WALL_S = 30, 240
MEMORY_BYTES = 3 << 30  # beyond what the parent has mapped


@dataclass(frozen=True)
class Ended:
    """How a command ended: ``code`` (negative: a signal), both streams, its processor time and what it grew by."""

    code: int
    out: str
    err: str
    cpu_s: float
    hung: bool

    @property
    def outcome(self) -> str:
        if self.hung or self.code == -signal.SIGXCPU:
            return "hang"
        if "MemoryError" in self.err or "Cannot allocate memory" in self.err:
            return "memory"
        if self.code < 0:
            return "crash"
        if "Traceback (most recent call last)" in self.err or self.code == 70:
            return "traceback"
        if self.code == 2:
            return "named error" if "error:" in self.err else "silent error"
        return "done" if self.code in (0, 1) else "odd exit"


def warm_up() -> None:
    """Load what commands load, once."""
    import av  # noqa: F401
    import cv2
    import torch

    import coprop_plugin.adapters.saved_masks
    import coprop_plugin.cli.options
    import coprop_plugin.control_points.changepoint
    import coprop_plugin.coprop
    import coprop_plugin.fusion.consensus
    import coprop_plugin.metrics.protocols
    import coprop_plugin.propagators.flow
    import coprop_plugin.report.html
    import coprop_plugin.rescore  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def load(names: Iterable[str]) -> None:
    """Import what commands were seen to import, so that every later one finds it loaded; half of their time goes there."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # pages that the children share stay shared


def start(arguments: list[str], folder: Path, streams: Path, *, modules: bool = False) -> int:
    """Fork, limit, and run the command in ``folder``; its streams go to files beside ``streams``. Returns the pid.

    ``modules``: leave the names of the modules that it loaded there, too.
    """
    child = os.fork()
    if child:
        return child
    try:
        mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, mapped + MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setpgid(0, 0)
        for number, suffix in ((1, ".out"), (2, ".err")):
            descriptor = os.open(streams.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        os.chdir(folder)
        from coprop_plugin.cli.main import main

        code = 70
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 2
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        if modules:
            streams.with_suffix(".modules").write_text("\n".join(sys.modules))
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        code = 70
    os._exit(code)


def finish(pid: int, streams: Path, *, wall_s: float = WALL_S) -> Ended:
    """Wait for a command, kill it at the wall limit."""
    deadline, hung = time.monotonic() + wall_s, False
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            hung = True
            _, status, used = os.wait4(pid, 0)
            break
        time.sleep(0.002)
    out, err = (streams.with_suffix(s).read_text("utf-8", errors="replace") for s in (".out", ".err"))
    return Ended(os.waitstatus_to_exitcode(status), out, err, used.ru_utime + used.ru_stime, hung)


def run(arguments: list[str], folder: Path, streams: Path, *, modules: bool = False) -> Ended:
    """Start and finish."""
    return finish(start(arguments, folder, streams, modules=modules), streams)
