"""``coprop score``: tables and JSON of saved masks, and what it says when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.cli.main import main
from coprop_plugin.metrics.protocols import Scores, score
from coprop_plugin.structures import ControlPoints, Prediction


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Predicted and true masks of 4 frames as PNGs (the last one silent), and as arrays."""
    truth = np.zeros((4, 24, 32), np.uint8)
    for t in range(3):
        truth[t, 5:15, 5 + t : 20] = 1
    predicted = np.roll(truth, 2, axis=2)
    predicted[3, 0, 0] = 1
    for name, maps in (("preds", predicted), ("gt", truth)):
        (tmp_path / name).mkdir()
        for t, labels in enumerate(maps):
            Image.fromarray(labels * 255).save(tmp_path / name / f"{t}.png")
    return tmp_path / "preds", tmp_path / "gt", predicted, truth


def test_json_is_what_the_library_returns(folders: tuple, capsys: pytest.CaptureFixture) -> None:
    preds, gt, predicted, truth = folders
    assert main(["score", str(preds), "--truth", str(gt), "--json"]) == 0
    wanted = score(Prediction.from_labels(predicted), Prediction.from_labels(truth), video_id="preds")
    assert Scores.from_json(capsys.readouterr().out) == wanted


def test_the_table_names_protocol_size_and_kind(folders: tuple, capsys: pytest.CaptureFixture) -> None:
    preds, gt, *_ = folders
    protocols = ["--protocol", "avsbench:size=224", "--protocol", "onsets", "--sampling", "uniform:2"]
    assert main(["score", str(preds), "--truth", str(gt), *protocols]) == 0
    shown = capsys.readouterr().out
    for text in ("avsbench:size=224", "M_F (hard masks)", "224x224", "onsets", "offset_error_s", "hard masks"):
        assert text in shown


def test_control_points_come_from_files(folders: tuple, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    preds, gt, *_ = folders
    points = tmp_path / "points.json"
    points.write_text(ControlPoints(np.array([1, 0, 1, 0])).to_json())
    flags = ["--protocol", "control-points", "--control-points", str(points), "--true-control-points", str(points)]
    assert main(["score", str(preds), "--truth", str(gt), *flags, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["F1@0"], scores["changes_true"], scores["about"]["truth_control_points"]) == (1, 1, "given")
    points.write_bytes(b"\xff\xfe\x00")
    assert main(["score", str(preds), "--truth", str(gt), *flags]) == 2
    assert "is not in UTF-8" in capsys.readouterr().err


def test_the_protocols_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main(["score", "--list", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {"avsbench", "avsegformer", "stepping-stones", "alignment", "all"} <= set(lines)
    assert all(lines.values())
    assert main(["score", "--list"]) == 0
    assert "stepping-stones" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{preds}"], "coprop score PREDICTION --truth TRUTH"),
        (["{preds}", "--truth", "{gt}", "--protocol", "avsbnch"], "Did you mean 'avsbench'"),
        (["{preds}", "--truth", "{gt}", "--sampling", "uniform"], "needs a rate"),
        (["{preds}", "--truth", "{gt}/nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_clear_line(
    folders: tuple, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    places = {"preds": folders[0], "gt": folders[1]}
    assert main(["score", *(a.format(**places) for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("coprop: error: ") and error.count("\n") == 1
