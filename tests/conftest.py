"""Where tests find outside material, which skips are allowed, and how many parity cases ran."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Cores are shared: how long an example takes says nothing.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path(os.environ.get("COPROP_REFERENCE_DIR", ROOT / "../shared/reference")).resolve()
DATA = Path(os.environ.get("COPROP_DATA_DIR", ROOT / "../shared/data")).resolve()
REQUIRED = set(filter(None, os.environ.get("COPROP_REQUIRE", "").split(",")))


def _missing(name: str) -> str | None:
    """Why something that a test needs is not here (None: it is)."""
    if name == "reference":
        return None if (REFERENCE / "cases").is_dir() else f"no published cases at {REFERENCE} (COPROP_REFERENCE_DIR)"
    if name == "data":
        return None if (DATA / "composed").is_dir() else f"no real clips at {DATA} (COPROP_DATA_DIR)"
    if name == "gpu":
        import torch

        return None if torch.cuda.is_available() else "no GPU"
    if name == "serve":
        return None if importlib.util.find_spec("openai") else "the package openai is not installed (extra 'serve')"
    if name == "ray":
        return None if importlib.util.find_spec("ray") else "the package ray is not installed (extra 'ray')"
    if name == "cutie":
        named = importlib.metadata.packages_distributions().get("cutie", [])
        return None if "rf-cutie" in named else "the package rf-cutie is not installed (extra 'cutie')"
    raise ValueError(f"unknown need '{name}'")


CASE = "parity case"


class Cases:
    """The case files that passed, told by the reports: where tests run in several processes, by those of all of them."""

    def __init__(self) -> None:
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.update(str(value) for name, value in report.user_properties if name == CASE)


_CASES: pytest.StashKey[Cases] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    import torch

    torch.set_num_threads(1)
    config.stash[_CASES] = Cases()
    config.pluginmanager.register(config.stash[_CASES])
    socket.socket.connect = _loopback_only(socket.socket.connect)  # type: ignore[method-assign]


def _loopback_only(connect):
    """Tests must pass without a network; one that needs it fails loudly here too."""

    def refuse(self: socket.socket, address):
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if inet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address[0]}: tests use no network but loopback")
        return connect(self, address)

    return refuse


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            why = _missing(name)
            if why and name in REQUIRED and name != "gpu":
                pytest.fail(f"COPROP_REQUIRE names '{name}': {why}")
            if why:
                pytest.skip(f"needs {name}: {why}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and REQUIRED and not any("gpu" in marker.args for marker in item.iter_markers("needs")):
        report.outcome = "failed"
        report.longrepr = f"skipped, and only a missing GPU may skip when COPROP_REQUIRE is set: {report.longrepr}"
    if report.when == "call":
        report.user_properties += [(CASE, str(case)) for m in item.iter_markers("parity") for case in m.args]


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    cases = config.stash[_CASES].passed
    found = sorted(p.name for p in (REFERENCE / "cases").glob("*") if p.is_file()) if not _missing("reference") else []
    terminalreporter.write_line(f"parity: {len(cases)} case files passed of {len(found)} found")
    if not config.option.keyword and set(found) - cases:
        terminalreporter.write_line("parity: not run here: " + ", ".join(sorted(set(found) - cases)))


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA
