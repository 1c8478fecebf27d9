"""``coprop report``: what refine stored becomes the same page again, wherever the clip lies now."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from coprop_plugin.cli.main import main
from coprop_plugin.coprop import Result
from coprop_plugin.media.reader import read_clip
from coprop_plugin.report.html import write_report
from coprop_plugin.store.result import write_result
from coprop_plugin.structures import ControlPoints, Prediction, Segment


@pytest.fixture
def refined(tmp_path):
    """A folder of frames with its sound, and the result folder of it."""
    frames, audio, out = tmp_path / "frames", tmp_path / "sound.wav", tmp_path / "out"
    frames.mkdir()
    rng = np.random.default_rng(0)
    for t in range(4):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(frames / f"{t}.png")
    soundfile.write(audio, rng.normal(0, 0.1, 32000), 8000)
    clip = read_clip(frames, audio=audio)
    probability = np.zeros((4, 24, 32), np.float32)
    probability[1:3, 5:15, 5:15] = 0.875
    result = Result(
        prediction=Prediction.from_foreground(probability, kind="probability"),
        base=Prediction.from_foreground(np.roll(probability, 1, axis=0), kind="probability"),
        control_points=ControlPoints(np.array([1, 1, 0, 1]), silent=(True, False, True)),
        segments=(Segment(0, 1, True), Segment(1, 3, False, ("dog",), 2), Segment(3, 4, True)),
        notes=("the masks were late",),
        why=("frame 3: kept",),
    )
    settings = {"propagator": "flow", "seed": 0}
    write_result(result, out, clip=clip, configuration=settings, inputs={"source": frames, "audio": audio})
    return SimpleNamespace(frames=frames, audio=audio, out=out, clip=clip, result=result)


def text_of(path):
    return path.read_text("utf-8")


def test_the_report_is_that_of_the_result_itself(refined, tmp_path, capsys):
    assert main(["report", str(refined.out), "--json"]) == 0
    made = text_of(refined.out / "report.html")
    assert json.loads(capsys.readouterr().out) == {"report": str(refined.out / "report.html")}
    direct = write_report(
        tmp_path / "direct.html",
        clip=refined.clip,
        refined=refined.result.prediction,
        base=Prediction.from_labels(refined.result.base.label_maps()[:]),
        control_points=refined.result.control_points,
        segments=refined.result.segments,
    )
    cut = '<section aria-labelledby="timeline-heading">', '<section aria-labelledby="settings-heading">'
    assert cut[1] in made and "propagator" in made and "coprop-plugin" in made
    body = made[made.index(cut[0]) : made.index(cut[1])]
    assert body in text_of(direct)
    assert "anchor: frame 2" in body and "dog" in body and "the masks were late" in made


def test_truth_and_scores_are_shown_when_there(refined, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    for t in range(4):
        Image.fromarray(refined.result.prediction.label_map(t).astype(np.uint8)).save(truth / f"{t}.png")
    rows = [{"protocol": "avsbench", "metric": "M_J", "base": 50.0, "refined": 75.0, "unit": "%"}]
    (refined.out / "scores.json").write_text(json.dumps(rows))
    out = tmp_path / "report.html"
    assert main(["report", str(refined.out), "-o", str(out), "--truth", str(truth), "--classes", "binary"]) == 0
    assert "Mean frame IoU with the truth rises from 50.0 to 100.0 %." in text_of(out)
    assert "+25.00" in text_of(out) and not (refined.out / "report.html").exists()


def test_a_moved_clip_is_asked_for_and_a_changed_one_told(refined, tmp_path, capsys):
    moved = refined.frames.rename(tmp_path / "moved")
    assert main(["report", str(refined.out)]) == 2
    assert "is not at" in (error := capsys.readouterr().err) and "--video" in error
    again = ["report", str(refined.out), "--video", str(moved), "--audio", str(refined.audio)]
    assert main(again) == 0
    assert "not the one that was refined" not in text_of(refined.out / "report.html")
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(moved / "3.png")
    assert main(again) == 0
    assert "The source shown here is not the one that was refined" in text_of(refined.out / "report.html")


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("run.log", None, "is not named in run.log"),
        ("run.log", "[1, 2]\n", "is not named in run.log"),
        ("scores.json", "{}", "it is a list"),
        ("scores.json", "[", "not JSON"),
        ("run.json", {"segments": [{"start": 0}]}, "segments[0].stop is missing"),
        ("run.json", {"configuration": "x"}, "configuration is a mapping"),
        ("run.json", {"notes": 3}, "notes is a list"),
        ("run.json", {"base": None}, "base prediction was not stored"),
    ],
)
def test_damaged_results_are_named(refined, capsys, name, content, said):
    path = refined.out / name
    if content is None:
        path.unlink()
    elif isinstance(content, dict):
        path.write_text(json.dumps({**json.loads(text_of(path)), **content}))
    else:
        path.write_text(content)
    assert main(["report", str(refined.out)]) == 2
    assert said in capsys.readouterr().err
    assert not (refined.out / "report.html").exists()
