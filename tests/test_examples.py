"""The examples run as they stand in the repository."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch
from rule_weights import rule_state

from coprop_plugin.adapters.avsegformer.network import AVSegFormer
from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.cli.demo import make_example
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


def test_inherit_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run("inherit_config.py", "-o", str(out), monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if " before " in line and " after " in line]
    assert [row[0] for row in rows][:2] == ["aAcc", "mIoU"]
    assert all(row[-3] != row[-1] for row in rows[:2])  # the hook did something
    assert f"coprop test {out / 'my_config.py'} {out / 'model.pth'}" in printed
    assert len(list((out / "refined").glob("*/report.html"))) == 3
    with pytest.raises(SystemExit):
        run("inherit_config.py", str(out / "my_config.py"), monkeypatch=monkeypatch)
    (out / "bare.py").write_text("_base_ = ['./my_config.py']\ncustom_hooks = []\n")
    with pytest.raises(SystemExit):
        run("inherit_config.py", str(out / "bare.py"), str(out / "model.pth"), monkeypatch=monkeypatch)
    assert "has no CoPropHook" in capsys.readouterr().err


@pytest.mark.heavy
def test_wrap_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_example(tmp_path, seed=14, simulate_as="lag:1")
    checkpoint = tmp_path / "model.pth"
    torch.save(rule_state(lambda: AVSegFormer(backbone="resnet50", classes=71)), checkpoint)
    wanted = ["--adapter", "avsegformer", "--checkpoint", str(checkpoint), "--variant", "resnet50-avss"]
    run(
        "wrap_checkpoint.py",
        str(tmp_path / "video.mp4"),
        *wanted,
        "--mode",
        "frame",
        "-o",
        str(tmp_path / "out"),
        monkeypatch=monkeypatch,
    )
    assert "control points (0, 2, 5, 6)" in capsys.readouterr().out
    assert len(list((tmp_path / "out/masks").glob("*.png"))) == 10
