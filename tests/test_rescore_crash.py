"""Killed anywhere and run again, a run leaves the same bytes as one that was never interrupted."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rescore_runs import barriers_of, copy, files_of, killed_at, plan_of, quick, write_benchmark

from coprop_plugin.files import locked
from coprop_plugin.rescore import barriers


@dataclass(frozen=True)
class Scenario:
    """A run over a benchmark: ``prepare`` the folder, then ``run`` in it, again and again if need be."""

    prepare: Callable[[Path], object]
    run: Callable[[Path], object]


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scenario]:
    """A first run in which a video fails, and a later one after that video was mended and another changed."""
    root = tmp_path_factory.mktemp("crash")
    broken = write_benchmark(root / "broken", videos=3, side=32)
    ids = sorted(p.stem for p in (broken / "predictions/soft").iterdir())
    mended = copy(broken, root / "mended")
    np.save(broken / f"predictions/soft/{ids[1]}.npy", np.full((5, 32, 32), 7, np.float32))
    changed = np.load(mended / f"predictions/soft/{ids[0]}.npy")
    np.save(mended / f"predictions/soft/{ids[0]}.npy", changed[::-1])

    def run(data: Path, *, retry_failed: bool) -> Callable[[Path], object]:
        plan = plan_of(data, "soft", reading={"kind": "probability"}, scores="float32", protocol=("avsbench", "split"))
        return lambda out: quick(plan, out, retry_failed=retry_failed, pages="all")

    first = run(broken, retry_failed=False)
    return {
        "first": Scenario(lambda out: None, first),
        "mended": Scenario(first, run(mended, retry_failed=True)),
    }


def test_every_barrier_stands_in_a_scenario(
    scenarios: dict[str, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: set[str] = set()
    for name, scenario in scenarios.items():
        scenario.prepare(tmp_path / name)
        passed |= set(barriers_of(lambda s=scenario, n=name: s.run(tmp_path / n), monkeypatch))
    assert passed == set(barriers.BARRIERS)


def check_kills(scenario: Scenario, folder: Path, monkeypatch: pytest.MonkeyPatch, *, first_of_each: bool) -> None:
    """Kill at barriers, go on, compare with the uninterrupted run."""
    start = folder / "start"
    start.mkdir()
    scenario.prepare(start)
    passed = barriers_of(lambda: scenario.run(copy(start, folder / "whole")), monkeypatch)
    wanted = files_of(folder / "whole")
    hits = [passed.index(name) for name in dict.fromkeys(passed)] if first_of_each else range(len(passed))
    for hit in hits:
        out = copy(start, folder / f"killed-{hit}")
        assert killed_at(lambda out=out: scenario.run(out), hit=hit), passed[hit]
        scenario.run(out)
        assert files_of(out) == wanted, f"killed at '{passed[hit]}' ({hit})"


@pytest.mark.parametrize("name", ["first", "mended"])
def test_killed_at_each_kind_of_barrier(
    name: str, scenarios: dict[str, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kills(scenarios[name], tmp_path, monkeypatch, first_of_each=True)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["first", "mended"])
def test_killed_at_every_barrier(
    name: str, scenarios: dict[str, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kills(scenarios[name], tmp_path, monkeypatch, first_of_each=False)


def test_killed_twice_at_the_same_place(scenarios: dict[str, Scenario], tmp_path: Path) -> None:
    scenario = scenarios["first"]
    scenario.run(tmp_path / "whole")
    for _ in range(2):
        assert killed_at(lambda: scenario.run(tmp_path / "killed"), hit=2)
    scenario.run(tmp_path / "killed")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_killed_run_is_told_and_its_lock_is_free(scenarios: dict[str, Scenario], tmp_path: Path) -> None:
    assert killed_at(lambda: scenarios["first"].run(tmp_path / "out"), hit=3)
    with locked(tmp_path / "out") as (_, stale):
        assert stale is not None
        assert "did not end by itself" in stale
    with locked(tmp_path / "out") as (_, stale):
        assert stale is None


@pytest.mark.heavy
@pytest.mark.parametrize(("workers", "kills"), [(1, 10), (2, 4)])
def test_random_kills(workers: int, kills: int, tmp_path: Path) -> None:
    """SIGKILL a random while after a random number of videos; the command again, and nothing differs."""
    methods, videos = ("lag-1", "flicker-2"), 6
    root = write_benchmark(tmp_path / "set", videos=videos)
    command = [sys.executable, "-m", "coprop_plugin.cli.main", "rescore", *(f"{root}/predictions/{m}" for m in methods)]
    command += ["--data-root", str(root), "--workers", str(workers), "--pages", "none", "-o"]

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    wanted = files_of(tmp_path / "whole")
    rng, killed = random.Random(workers), 0
    for i in range(kills):
        out, seen = tmp_path / f"out-{i}", rng.randint(0, len(methods) * videos)
        process = start(out)
        while process.poll() is None and _videos_done(out) < seen:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        killed += process.wait() < 0
        assert start(out).wait() == 0
        assert files_of(out) == wanted, f"killed after {seen} videos"
    assert killed > kills // 2  # the others had ended


def _videos_done(out: Path) -> int:
    log = out / "run.log"
    return log.read_text().count('"event": "done"') if log.exists() else 0
