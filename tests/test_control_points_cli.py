"""``coprop points`` and ``coprop study control-points``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sounds

from coprop_plugin.cli.main import main
from coprop_plugin.control_points.fixed import EveryK, NoChange, read_control_points
from coprop_plugin.datasets.write import Simulation, write_dataset
from coprop_plugin.parts import names_in
from coprop_plugin.structures import Clip, ControlPoints, Prediction
from coprop_plugin.study.clips import Known
from coprop_plugin.study.points import agreement, chunks

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
    assert "made [1]: 5 frames, sampling avsbench, control points by boundary" in told
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
        (["points", "FILE", "--control-points", "every_k"], "needs the option 'k'"),
        (["points", "FILE", "--control-points", "from_masks"], "looks at a base model's masks"),
        (["study", "control-points", "--seeds", "9-3"], "--seeds is a range as 100-139, got '9-3'"),
        (["study", "control-points", "--seeds", "1", "--synthetic", "2"], "either --seeds A-B or --synthetic N"),
        (["study", "control-points", "--synthetic", "0"], "from 1 on, got 0"),
        (["study", "control-points", "--recordings", "."], "give both --recordings DIR and --events FILE"),
        (["study", "control-points", "--composed", "FOLDER"], "holds no composed clips"),
        (["study", "control-points", "--recordings", "FOLDER", "--events", "FILE"], "is not in UTF-8"),
        (["study", "control-points", "--generators", "none,guess", "--seeds", "1"], "unknown control-points 'guess'"),
        (
            ["study", "control-points", "--generators", "from_masks", "--seeds", "1"],
            "name --simulators or --predictions",
        ),
        (["study", "control-points", "--simulators", "lag:much", "--seeds", "1"], "NAME or NAME:STRENGTH, as lag:1"),
        (["study", "control-points", "--predictions", "."], "name it with --data-root DIR"),
        (["study", "control-points", "--data-root", "FOLDER"], "holds no AVSBench data set"),
        (["study", "control-points", "--lm-replay", "x.json"], "are for rcpg; name it in --generators"),
        (["study", "control-points", "--table-2b"], "name a folder or hub id"),
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


def test_the_study_of_points_writes_a_line_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "control-points", "--seeds", "5-6", "--generators", "every_k:k=3", "--simulators", "lag:1"]
    assert main([*words, "--propagator", "hold", "--json", "-o", str(tmp_path / "new/study")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "new/study/study.json").read_text()) == told
    lines = [json.loads(line) for line in (tmp_path / "new/study/clips.jsonl").read_text().splitlines()]
    found = [line for line in lines if "generator" in line]
    assert len({line["clip"] for line in found}) == len(found) == 2
    assert all(line["changes_predicted"] == [3, 6, 9] and 0 <= line["F1@0"] <= line["F1@2"] <= 1 for line in found)
    assert sum(len(line["changes_true"]) for line in found) == told["rows"][0]["changes_true"]
    for row in told["propagation"]:
        of = [line for line in lines if all(line.get(k) == row[k] for k in ("base", "control_points", "policy"))]
        assert len(of) == row["clips"] == 2
        assert np.mean([line["alignment"] for line in of]) == pytest.approx(row["alignment"])
    (tmp_path / "file").write_text("")
    assert main([*words, "-o", str(tmp_path / "file")]) == 2
    assert "no folder can be made there" in capsys.readouterr().err


def test_the_study_of_the_plug_in_writes_a_line_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "plug-in", "--seeds", "5-6", "--size", "48", "--simulators", "lag", "--strengths", "1"]
    words += ["--generators", "truth", "--propagators", "hold", "--policies", "replace", "--json"]
    assert main([*words, "-o", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "study.json").read_text()) == told and len(told) == 2
    lines = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and len({line["clip"] for line in lines}) == 2
    for row in told:
        of = [line for line in lines if line["policy"] == row["policy"]]
        for metric in ("alignment", "M_J", "excess_flicker"):
            assert np.mean([line[metric] for line in of]) == pytest.approx(row[metric])


@pytest.mark.parametrize(("kind", "layout"), [("s4", "S4"), ("ms3", "MS3"), ("moc", "AVSS")])
def test_the_study_of_a_benchmark_with_saved_predictions(
    kind: str, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(
        tmp_path / "set",
        kind=kind,
        videos=2,
        seed=7,
        size=(48, 48),
        splits=["test"],
        simulations=[Simulation.parse("lag:1"), Simulation.parse("perfect")],
    )
    words = ["study", "control-points", "--data-root", str(tmp_path / "set"), "--generators", "truth,from_masks,none"]
    for name in ("lag-1", "perfect-1"):
        words += ["--predictions", f"{name}={next((tmp_path / 'set' / 'predictions').glob(name.split('-')[0] + '*'))}"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["clips_from"].split()[0] for row in told["rows"]} == {layout}
    rows = {row["generator"]: row for row in told["rows"]}
    assert set(rows) == {"none", "from_masks on lag-1", "from_masks on perfect-1"}
    assert rows["from_masks on perfect-1"]["F1@0"] == rows["from_masks on perfect-1"]["exact_list"] == 1
    scores = {(r["base"], r["control_points"], r["policy"]): r for r in told["propagation"]}
    assert len(scores) == 2 * (1 + 3 * 2)
    perfect = scores["perfect-1", "", "base"]
    assert kind == "moc" or perfect["M_J"] == pytest.approx(100)  # 71 classes: those that never occur count 0
    assert perfect["alignment"] == 100 and perfect["M_J change"] is None and perfect["clips"] == 2
    assert scores["perfect-1", "truth", "consensus"]["M_J"] == perfect["M_J"]
    assert main(words) == 0 and "the policy replace is the paper's" in capsys.readouterr().out
    words[words.index("truth,from_masks,none")] = "truth"
    assert main(words) == 0 and "perfect-1" in capsys.readouterr().out


@pytest.mark.needs("data")
def test_class_masks_tell_the_changes_of_binary_ones(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "control-points", "--data-root", str(data / "composed"), "--dataset", "ms3"]
    words += ["--generators", "none", "--json"]
    told = []
    for more in ([], ["--semantic-root", str(data / "composed" / "avss")]):
        assert main([*words, *more]) == 0
        told += json.loads(capsys.readouterr().out)["rows"]
    assert "binary masks" in told[0]["clips_from"] and told[1]["clips_from"] == "MS3 test"
    assert told[0]["clips"] == told[1]["clips"] == 2 and told[0]["changes_true"] == told[1]["changes_true"] == 3


def test_the_papers_table_with_recorded_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    answers = [
        {"prompt": "in the format of a list", "answer": "[1, 0, 0, 0, 1, 0, 0, 0, 0, 0]"},
        {"prompt": "formatted as a list", "answer": "No idea."},
        {"answer": "dog"},
    ]
    (tmp_path / "answers.json").write_text(json.dumps({"answers": answers}))
    words = ["study", "control-points", "--seeds", "0", "--simulators", "lag:1", "--propagator", "hold", "--table-2b"]
    words += ["--lm-replay", str(tmp_path / "answers.json")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["generator"]: row for row in told["rows"]}
    assert list(rows) == ["cosine-logmel", *(f"rcpg:variant={v}" for v in ("one_step", "three_step", "rcpg"))]
    assert rows["rcpg:variant=one_step"]["fallbacks"] == 1 and rows["rcpg:variant=rcpg"]["fallbacks"] == 0
    assert rows["rcpg:variant=rcpg"]["calls"] == 0 and rows["cosine-logmel"]["calls"] is None
    assert rows["rcpg:variant=rcpg"]["answers_by"].startswith("recorded answers, no model")
    assert any("nothing about Qwen" in note for note in told["notes"])
    assert {row["status"] for row in told["published"]} == {"published"}
    assert told["published"][3]["ms3"] == [63.58, 73.96] and told["published"][0]["s4"] == [81.22, 89.13]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "RCPG (published)" in text and "recorded answers, no model" in text and "nothing about Qwen" in text


def test_the_study_counts_calls_of_the_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny_language import qwen2_audio

    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    words = ["study", "control-points", "--seeds", "0-1", "--kind", "ms3", "--generators", "rcpg:max_new_tokens=4"]
    words += ["--lm-model", str(qwen2_audio(tmp_path / "tiny")), "--json"]
    calls = []
    for _ in range(2):
        assert main(words) == 0
        (row,) = json.loads(capsys.readouterr().out)["rows"]
        calls.append(row["calls"])
        assert "Qwen2AudioForConditionalGeneration, 0.000" in row["answers_by"]
    assert calls == [6, 0]  # two clips, three questions each; then the cache


def test_the_study_of_sound_files(sound_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = sound_file.with_name("events.json")
    events.write_text(json.dumps({"files": {sound_file.name: {"hum": [[2, 4]], "hiss": [[4, 5.4]]}}}))
    arguments = ["study", "control-points", "--recordings", str(sound_file.parent), "--events", str(events), "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["generator"] == "boundary" and rows[0]["F1@0"] == rows[0]["exact_list"] == 1
    events.write_text(json.dumps({"files": {"../other.wav": {}}}))
    assert main(arguments) == 2 and "other.wav" in capsys.readouterr().err


def test_agreement_by_hand() -> None:
    """Truth {2, 6}; found every third frame {3, 6, 9}: one exact, one a frame late."""
    clip = sounds.clip([("low", 10)])
    truth = np.isin(np.arange(10), (0, 2, 6))
    scores = agreement(EveryK(k=3), 2 * [Known(clip, ControlPoints(truth))])
    assert scores["F1@0"] == pytest.approx(0.4) and scores["F1@1"] == pytest.approx(0.8)
    assert scores["precision@1"] == pytest.approx(2 / 3) and scores["recall@1"] == 1
    assert scores["error_s"] == scores["lag_s"] == 0.5 and scores["exact_list"] == 0
    assert (scores["clips"], scores["changes_true"], scores["changes_predicted"]) == (2, 4, 6)
    assert scores["calls"] is None and scores["fallbacks"] == 0 and scores["seconds"] >= 0
    assert agreement(NoChange(), [Known(clip, ControlPoints(np.arange(10) == 0))])["F1@0"] == 1
    assert [len(chunk) for chunk in chunks(iter(range(35)))] == [16, 16, 3]


def test_what_is_said_to_sound_is_scored_where_both_sides_name_it() -> None:
    clip = sounds.clip([("low", 10)])
    flags = np.isin(np.arange(10), (0, 4))
    truth = Known(clip, ControlPoints(flags, silent=(False, True), categories=(("dog",), ())))

    class Says(NoChange):
        def __init__(self, *categories: tuple[str, ...] | None) -> None:
            self.categories = categories

        def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
            return ControlPoints(np.arange(10) == 0, categories=self.categories)

    found = agreement(Says(("dog", "cow")), [truth])
    assert found["segment_F1"] == pytest.approx(2 * 4 / (2 * 4 + 16)) and found["segment_error_rate"] == 4
    assert agreement(Says(None), [truth])["segment_F1"] is None
    assert agreement(NoChange(), [truth])["segment_F1"] is None


def test_names_with_options_are_split() -> None:
    assert names_in("a,b:k=1,l=2,c") == ["a", "b:k=1,l=2", "c"]
    assert names_in("file:path=x.json,none") == ["file:path=x.json", "none"]


@pytest.mark.needs("data")
def test_real_recordings(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Short public recordings on a grid of seconds: most lists are exactly right, and few changes are made up."""
    arguments = ["study", "control-points", "--recordings", str(data / "real/audio"), "--events", str(EVENTS), "--json"]
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
