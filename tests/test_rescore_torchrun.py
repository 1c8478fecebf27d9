"""Ranks that torchrun started write what one process does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rescore_runs import files_of, write_benchmark

from coprop_plugin.errors import CoPropError
from coprop_plugin.rescore.torchrun import Torchrun

COPROP = ("-m", "coprop_plugin.cli.main")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240, env={**os.environ})


def arguments(root: Path, out: Path) -> list[object]:
    sources = [root / "predictions" / name for name in ("lag-1", "flicker-2")]
    return ["rescore", *sources, "--data-root", root, "--pages", "all", "--scores", "float32", "-o", out]


@pytest.mark.heavy
def test_two_ranks_write_what_one_process_does(tmp_path: Path) -> None:
    root = write_benchmark(tmp_path / "set", videos=5)
    broken = min((root / "predictions/flicker-2").iterdir())
    min(broken.iterdir()).write_bytes(b"no picture")
    one = run(sys.executable, *COPROP, *arguments(root, tmp_path / "one"))
    two = run(*TORCHRUN, "--standalone", *COPROP, *arguments(root, tmp_path / "two"))
    assert one.returncode == 1 and two.returncode != 0  # a video failed, both say so
    assert f"failed flicker-2/{broken.name}" in one.stderr and f"failed flicker-2/{broken.name}" in two.stderr
    assert one.stdout and one.stdout in two.stdout
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


@pytest.mark.heavy
def test_ranks_go_on_where_a_killed_run_stopped(tmp_path: Path) -> None:
    root = write_benchmark(tmp_path / "set", videos=4)
    assert run(sys.executable, *COPROP, *arguments(root, tmp_path / "one")).returncode == 0
    process = subprocess.Popen([*map(str, (sys.executable, *COPROP, *arguments(root, tmp_path / "two")))])
    log = tmp_path / "two/run.log"
    while process.poll() is None and not (log.exists() and '"done"' in log.read_text()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    two = run(*TORCHRUN, "--standalone", *COPROP, *arguments(root, tmp_path / "two"))
    assert two.returncode == 0, two.stderr
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_without_torchrun_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(CoPropError, match="torchrun --nproc-per-node"):
        Torchrun()
