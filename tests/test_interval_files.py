"""Sounding intervals in the forms of annotation tools: there and back, judged by the tools' own readers where there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sounds

from coprop_plugin.cli.main import main
from coprop_plugin.control_points.fixed import FromFile
from coprop_plugin.control_points.interval_files import WRITERS, intervals_of
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import ControlPoints

CLIP = sounds.clip([("low", 3.0), ("none", 2.0), ("high", 5.0)])


def points(*, named: bool) -> ControlPoints:
    flags = np.isin(np.arange(10), (0, 3, 5, 8))
    names = (("dog",), (), ("cat", "dog"), ("cat",)) if named else None
    return ControlPoints(flags, silent=(False, True, False, False), categories=names)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", [".txt", ".tsv"])
def test_labels_and_tables_come_back(tmp_path: Path, form: str, named: bool) -> None:
    path = tmp_path / f"made{form}"
    path.write_text(WRITERS[form](intervals_of(points(named=named), CLIP.time_base), "made", 10.0))
    back = FromFile(path=path)(CLIP)
    assert back.frames == points(named=named).frames and back.silent == points(named=named).silent
    assert back.categories == (points(named=True).categories if named else (None, (), None, None))
    assert back.origin.generator == "labels"


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("2.9\t2.9\there\n5.1\t5.1\t\n")  # labels at points, as control points
    assert FromFile(path=path)(CLIP).frames == (0, 3, 5)
    path.write_text("0.0\t3.0\tdog\n\\\t100.0\t200.0\n5.0\t10.0\tcat\n")  # Audacity's spectral rows
    assert FromFile(path=path)(CLIP).silent == (False, True, False)
    table = "filename\tonset\toffset\tevent_label\n{}.wav\t0.0\t3.0\tdog\nother.wav\t1.0\t2.0\tcat\n"
    path.write_text(table.format("made"))
    assert FromFile(path=path)(CLIP).frames == (0, 3)
    path.write_text(table.format("some"))
    with pytest.raises(CoPropError, match="none is the clip 'made'"):
        FromFile(path=path)(CLIP)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SPEAKER a 1 0.0 1.0 <NA> <NA> dog <NA> <NA>\n", "is RTTM, which is written here and not read"),
        ('{"annotations": [], "file_metadata": {}}', "is JAMS, which is written here and not read"),
        ("3.0\t1.0\tdog\n", "0 <= start <= stop"),
        ("1.0\tx\tdog\n", "seconds divided by tabs"),
        ("onset\tevent_label\n1.0\tdog\n", "has the columns onset, offset, event_label"),
    ],
)
def test_known_forms_that_cannot_be_used_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(CoPropError, match=told):
        FromFile(path=tmp_path / "x.txt")(CLIP)


def test_jams_by_the_library(tmp_path: Path) -> None:
    jams = pytest.importorskip("jams", reason="the package jams is not installed (dev)")
    (tmp_path / "a.jams").write_text(WRITERS[".jams"](intervals_of(points(named=True), CLIP.time_base), "made", 10.0))
    read = jams.load(str(tmp_path / "a.jams"), validate=True, strict=True)
    rows = [(o.time, o.time + o.duration, o.value) for o in read.annotations[0].data]
    assert rows == [(0.0, 3.0, "dog"), (5.0, 8.0, "dog"), (5.0, 10.0, "cat")]


def test_rttm_has_ten_fields() -> None:
    lines = WRITERS[".rttm"](intervals_of(points(named=False), CLIP.time_base), "my clip", 10.0).splitlines()
    assert [[*line.split()[1:5], line.split()[7]] for line in lines][0] == [
        "my_clip",
        "1",
        "0.000000",
        "3.000000",
        "sound_1",
    ]
    assert all(len(line.split()) == 10 for line in lines)


def test_the_command_writes_by_the_name(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "made.wav", CLIP.sound.samples, CLIP.sound.rate_hz)
    for form, begin in ((".txt", "0.000000\t"), (".tsv", "filename\tonset"), (".rttm", "SPEAKER made"), (".json", "{")):
        assert main(["points", str(tmp_path / "made.wav"), "-o", str(tmp_path / f"p{form}")]) == 0
        assert (tmp_path / f"p{form}").read_text().startswith(begin)
