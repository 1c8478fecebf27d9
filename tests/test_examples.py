"""The examples run as they stand in the repository."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.store import read_result

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_saved_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("saved_masks.py", "-o", str(tmp_path / "out"), monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "before {'M_J'" in printed
    assert "after {'M_J'" in printed
    stored = read_result(tmp_path / "out")
    assert stored.prediction.num_frames == stored.base.num_frames == 10
    assert stored.manifest["inputs"]["video"]["name"] == "example.mp4"


def test_saved_masks_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = runpy.run_path(str(EXAMPLES / "saved_masks.py"))
    video, masks, _ = example["make_example"](tmp_path)
    run("saved_masks.py", str(video), str(masks), "-o", str(tmp_path / "out"), monkeypatch=monkeypatch)
    assert read_prediction(tmp_path / "out").num_frames == 10
    with pytest.raises(SystemExit):
        run("saved_masks.py", str(video), monkeypatch=monkeypatch)
