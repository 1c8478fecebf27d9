"""``coprop points`` and ``coprop study control-points``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sounds

from coprop_plugin.cli.main import main
from coprop_plugin.cli.study_points import split_names
from coprop_plugin.control_points.fixed import EveryK, NoChange, read_control_points
from coprop_plugin.study.points import agreement

EVENTS = Path(__file__).parent / "data" / "real_audio_events.json"


@pytest.fixture
def sound_file(tmp_path: Path) -> Path:
    sound = sounds.sound([("none", 2), ("low", 2), ("noise", 1.4)])
    soundfile.write(tmp_path / "made [1].wav", sound.samples, sound.rate_hz)
    return tmp_path / "made [1].wav"


def test_points_of_a_sound_alone(sound_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = sound_file.with_name("points.json")
    assert main(["points", str(sound_file), "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert "made [1]: 5 frames, sampling avsbench, control points by changepoint" in told
    assert "0 to 1" in told and "0.00 to 2.00 s" in told and "silent" in told
    assert "the last 0.40 s of the sound belong to no frame" in told
    points = read_control_points(out)
    assert points.frames == (0, 2, 4) and points.silent == (True, False, False)
    assert main(["points", str(sound_file), "--control-points", f"file:path={out}", "--json"]) == 0
    assert capsys.readouterr().out == out.read_text() == points.to_json()


def test_points_under_another_sampling_and_generator(sound_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["points", str(sound_file), "--sampling", "uniform:10", "--control-points", "every_k:k=20", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert np.flatnonzero(told["flags"]).tolist() == [0, 20, 40] and len(told["flags"]) == 54
    assert main(arguments[:-1]) == 0
    assert "2.00 to 4.00 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["points", "nowhere.mp4"], "nowhere.mp4"),
        (["points", "FILE", "--control-points", "change-point"], "Did you mean 'changepoint'?"),
        (["points", "FILE", "--control-points", "every_k"], "does not take these options"),
        (["points", "FILE", "--control-points", "from_masks"], "need the base model's prediction"),
        (["study", "control-points", "--seeds", "9-3"], "--seeds is a range as 100-139, got '9-3'"),
        (["study", "control-points", "--seeds", "1", "--synthetic", "2"], "either --seeds A-B or --synthetic N"),
        (["study", "control-points", "--synthetic", "0"], "from 1 on, got 0"),
        (["study", "control-points", "--audio", "."], "give both --audio DIR and --events FILE"),
        (["study", "control-points", "--composed", "FOLDER"], "holds no composed clips"),
        (["study", "control-points", "--audio", "FOLDER", "--events", "FILE"], "is no JSON"),
        (["study", "control-points", "--generators", "none,guess", "--seeds", "1"], "unknown control-points 'guess'"),
    ],
)
def test_wrong_input_is_one_line(
    sound_file: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"FILE": str(sound_file), "FOLDER": str(sound_file.parent)}
    assert main([places.get(a, a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_the_study_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "control-points", "--seeds", "5-6", "--generators", "changepoint,every_k:k=3,none"]
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["generator"] for row in rows] == ["changepoint", "every_k:k=3", "none"]
    assert {row["clips"] for row in rows} == {2} and rows[2]["F1@0"] == 0 and rows[2]["error_s"] is None
    assert rows[0]["F1@0"] > rows[1]["F1@0"] and rows[1]["changes_predicted"] == 6
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "synthetic moc, seeds 5-6: 2 clips" in told and "every_k:k=3" in told and "F1@1" in told


def test_the_study_of_sound_files(sound_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = sound_file.with_name("events.json")
    events.write_text(json.dumps({"files": {sound_file.name: {"hum": [[2, 4]], "hiss": [[4, 5.4]]}}}))
    arguments = ["study", "control-points", "--audio", str(sound_file.parent), "--events", str(events), "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["generator"] == "changepoint" and rows[0]["F1@0"] == rows[0]["exact_list"] == 1
    events.write_text(json.dumps({"files": {"../other.wav": {}}}))
    assert main(arguments) == 2 and "other.wav" in capsys.readouterr().err


def test_agreement_by_hand() -> None:
    """Truth {2, 6}; found every third frame {3, 6, 9}: one exact, one a frame late."""
    clip = sounds.clip([("low", 10)])
    truth = np.isin(np.arange(10), (0, 2, 6))
    scores = agreement(EveryK(k=3), [(clip, truth), (clip, truth)])
    assert scores["F1@0"] == pytest.approx(0.4) and scores["F1@1"] == pytest.approx(0.8)
    assert scores["precision@1"] == pytest.approx(2 / 3) and scores["recall@1"] == 1
    assert scores["error_s"] == scores["lag_s"] == 0.5 and scores["exact_list"] == 0
    assert (scores["clips"], scores["changes_true"], scores["changes_predicted"]) == (2, 4, 6)
    assert agreement(NoChange(), [(clip, np.arange(10) == 0)])["F1@0"] == 1


def test_names_with_options_are_split() -> None:
    assert split_names("a,b:k=1,l=2,c") == ["a", "b:k=1,l=2", "c"]
    assert split_names("file:path=x.json,none") == ["file:path=x.json", "none"]


@pytest.mark.needs("data")
def test_real_recordings(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Short public recordings on a grid of seconds: most lists are exactly right, and few changes are made up."""
    arguments = ["study", "control-points", "--audio", str(data / "real/audio"), "--events", str(EVENTS), "--json"]
    assert main([*arguments, "--generators", "changepoint"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["clips"] == 13 and row["exact_list"] > 0.7 and row["precision@1"] > 0.8 and row["F1@1"] > 0.65


@pytest.mark.needs("data")
def test_real_silence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["points", str(data / "real/streams/cockatoo_silent_track.mp4"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(told["flags"]) == 1 and told["silent"] == [True]
    assert main(["points", str(data / "real/streams/no_audio_stream.mp4")]) == 2
    assert "silent" in capsys.readouterr().err
