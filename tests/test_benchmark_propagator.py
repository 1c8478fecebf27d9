"""The propagator's benchmark as a user types it, on the smallest frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "propagator.py"
TINY = ("--models", "aott", "--size", "49x65", "--segments", "1,3", "--lengths", "3", "--rounds", "1", "--threads", "1")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *TINY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_rows_compare_the_engine_with_the_plain_side() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["segments"], row["length"]) for row in rows] == [(1, 3), (3, 3)]
    for row in rows:
        assert 0 < row["max_difference"] < 1e-4
        assert row["labels_equal_to_plain"] > 0.99
        assert row["ratio_to_plain"] == pytest.approx(row["plain_s"] / row["engine_s"])


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    done = run("--published", tmp_path)
    assert done.returncode == 1
    assert f"--published {tmp_path}: no checkout of AOT's published code" in done.stderr
