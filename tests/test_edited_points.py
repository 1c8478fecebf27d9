"""Control points that a person edits: flags alone are enough, the rest follows or is left out, and it is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sounds

from coprop_plugin.cli.main import main
from coprop_plugin.control_points.fixed import FromFile
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import ControlPoints, Origin

POINTS = ControlPoints(
    np.array([1, 0, 1, 0, 0, 1]),
    np.full(6, 0.75),
    silent=(False, True, False),
    categories=(("dog",), (), ("cat",)),
    origin=Origin("changepoint"),
)


def edited(flags: list[int], **others: object) -> ControlPoints:
    data = json.loads(POINTS.to_json()) | {"flags": flags} | others
    return ControlPoints.from_json(json.dumps({k: v for k, v in data.items() if v != "gone"}))


def test_untouched_points_come_back_as_they_were() -> None:
    assert ControlPoints.from_json(POINTS.to_json()) == POINTS


@pytest.mark.parametrize(
    ("flags", "silent"),
    [
        ([1, 0, 1, 0, 1, 1], (False, True, True, False)),  # cut once more: both parts are what the whole was
        ([1, 0, 1, 0, 0, 0], (False, None)),  # silence and sound in one: not known
        ([1, 0, 0, 1, 0, 1], (None, True, False)),  # moved
        ([1, 0, 0, 0, 0, 0], (None,)),
    ],
)
def test_flags_can_be_edited_alone(flags: list[int], silent: tuple[bool | None, ...]) -> None:
    points = edited(flags)
    moved = [t for t in range(6) if flags[t] != POINTS.flags[t]]
    assert points.silent == silent and points.origin.generator == "edited"
    assert points.origin.notes == (
        f"edited: flags of changepoint edited by hand at the frames {', '.join(map(str, moved))}",
    )
    assert points.confidence is not None and (points.confidence[moved] == 1).all()


def test_files_of_before_lose_what_cannot_be_placed() -> None:
    points = edited([1, 0, 0, 0, 0, 1], origin={"generator": "changepoint"})
    assert points.silent is None and points.categories is None and points.origin.generator == "edited"
    with pytest.raises(CoPropError, match=r"origin.flags is a text of 6 digits"):
        edited([1, 0, 0, 0, 0, 1], origin={"flags": "10"})


def test_what_is_not_said_of_silence_is_heard(tmp_path: Path) -> None:
    clip = sounds.clip([("low", 3.0), ("none", 3.0), ("high", 4.0)])
    path = tmp_path / "points.json"
    for text in ("[1, 0, 0, 1, 0, 0, 1, 0, 0, 0]", '{"flags": [1, 0, 0, 1, 0, 0, 1, 0, 0, 0], "silent": null}'):
        path.write_text(text)
        points = FromFile(path=path)(clip)
        assert points.silent == (False, True, False)
        assert "3 of 3 segments do not say whether they are silent: heard from the sound" in points.origin.repairs


def test_a_file_that_begins_with_a_dash_gets_the_hint(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-PE8abc.mp4").write_bytes(b"x")
    monkeypatch.setattr("sys.argv", ["coprop", "points", "-PE8abc.mp4"])
    with pytest.raises(SystemExit):
        main(["points", "-PE8abc.mp4"])
    assert "write ./-PE8abc.mp4" in capsys.readouterr().err
