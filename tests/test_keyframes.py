"""The keyframe subset: true ones, those of any generator, replayed ones; a list that only its own data fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.cli.main import main
from coprop_plugin.control_points.base import ControlPointGenerator
from coprop_plugin.datasets.keyframes import KeyframeList
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.structures import Origin
from coprop_plugin.training.keyframes import find_keyframes
from coprop_plugin.training.sources import open_source

DATA = "synth:moc:0-3"
SIZE = (32, 32)


def test_true_keyframes_are_those_of_the_masks() -> None:
    source = open_source(DATA, size=SIZE)
    found = find_keyframes(source, None)
    for item in range(len(source)):
        labelled = source[item]
        assert found.keyframes.of(labelled.clip.clip_id, labelled.clip.num_frames) == tuple(
            np.flatnonzero(labelled.flags)
        )
    assert found.num_frames == sum(source[i].clip.num_frames for i in range(4))
    assert found.masked == found.num_keyframes > 4


def test_any_generator_and_what_it_fell_back_to() -> None:
    class Second(ControlPointGenerator):
        name = "second"

        def __call__(self, clip: cp.Clip, *, base: cp.Prediction | None = None) -> cp.ControlPoints:
            flags = np.arange(clip.num_frames) < 2
            return cp.ControlPoints(flags, origin=Origin(self.name, repairs=("forced",), fallback="changepoint"))

    found = find_keyframes(open_source(DATA, size=SIZE), Second())
    assert set(found.keyframes.frames.values()) == {(0, 1)} and found.keyframes.control_points == "second"
    assert found.notes == {"fell back to changepoint": 4, "forced": 4}


def test_a_list_comes_back_and_is_checked(tmp_path: Path) -> None:
    made = KeyframeList({"kind": "moc"}, "boundary:threshold=0.5", {"a": (0, 2), 'b"\n': (0,)})
    made.write(tmp_path / "list.json")
    assert KeyframeList.read(tmp_path / "list.json") == made
    assert made.of("a", 5) == (0, 2)
    with pytest.raises(CoPropError, match="'c' is not among them"):
        made.of("c", 5)
    with pytest.raises(CoPropError, match="names frame 2 of 'a', which has 2"):
        made.of("a", 2)
    for frames in ([1, 2], [0, 2, 2], [0, -1]):
        text = json.loads((tmp_path / "list.json").read_text()) | {"frames": {"a": frames}}
        (tmp_path / "odd.json").write_text(json.dumps(text))
        with pytest.raises(CoPropError, match=r"ascending frame indices|whole number"):
            KeyframeList.read(tmp_path / "odd.json")
    for text in ("{}", "[]", '{"format": "coprop-keyframes/2"}', "\x00"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(CoPropError):
            KeyframeList.read(tmp_path / "odd.json")


def test_the_command_on_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "set", kind="s4", videos=4, splits=("train",), size=SIZE)
    out = tmp_path / "keys.json"
    assert (
        main(["data", "keyframes", str(tmp_path / "set"), "--control-points", "truth", "-o", str(out), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told == {"clips": 4, "frames": 20, "keyframes": 4, "with masks": 4, "notes": {}}
    assert set(KeyframeList.read(out).frames.values()) == {(0,)}, "training videos of S4 have one mask"
    assert main(["data", "keyframes", str(tmp_path / "set"), "--control-points", "every_k:k=2", "-o", str(out)]) == 0
    assert "12 keyframes of 20 frames in 4 clips, 60.0%; 4 have masks" in capsys.readouterr().out
    assert KeyframeList.read(out).control_points == "every_k:k=2"
    assert main(["data", "keyframes", DATA, "--control-points", "from_masks", "-o", str(out)]) == 2
    assert "Take truth" in capsys.readouterr().err


def test_answers_of_a_language_model_are_replayed(tmp_path: Path) -> None:
    """Recorded answers stand for RCPG's model: what they say are the keyframes."""
    answers = [{"prompt": "keyframe", "answer": "[1, 0, 0, 1, 0, 0, 0, 0, 1, 0]"}, {"answer": "a dog"}]
    (tmp_path / "answers.json").write_text(json.dumps({"answers": answers}))
    out = tmp_path / "keys.json"
    given = f"rcpg:replay={tmp_path / 'answers.json'},cache=off"
    assert main(["data", "keyframes", DATA, "--size", "32x32", "--control-points", given, "-o", str(out)]) == 0
    assert set(KeyframeList.read(out).frames.values()) == {(0, 3, 8)}
