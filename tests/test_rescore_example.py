"""The example of the user who re-scores runs as it stands in the repository."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/rescore_benchmark.py"


def test_the_example_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, "-o", str(tmp_path / "out")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "lag-1        avsbench   M_J" in printed
    assert "16 videos, 0 failed" in printed
    assert (tmp_path / "out/index.html").is_file()


def test_a_benchmark_without_predictions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, str(tmp_path)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
