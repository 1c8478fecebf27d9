"""Settings, names and streams of any kind end in a named error or in a terminal that is left alone, never in a traceback."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.cli.main import main
from coprop_plugin.cli.terminal import console, say
from coprop_plugin.files import atomic_write

NASTY = "a [bold]b[/bold] [/x] :smile: \x1b[31mred\x1b]0;t\x07 \udcff.mp4"


def masks(folder: Path, *, frames: int = 3) -> Path:
    """Label maps of a square."""
    folder.mkdir(parents=True)
    labels = np.zeros((8, 8), np.uint8)
    labels[2:5, 2:5] = 1
    for t in range(frames):
        Image.fromarray(labels).save(folder / f"{t}.png")
    return folder


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ids: 5", "--ids maps file values to classes"),
        ("ids: {1: x}", r"ids \[1\] is a whole number .*; got 'x'|ids .*got 'x'"),
        ("ids: {a: 1}", "ids maps whole numbers"),
        ("kind: 5", "kind is one of hard, probability, logit; got 5"),
        ("kind: [hard]", "kind is text or .*; got a list of 1"),
        ("protocol: 5", "unknown protocol '5'"),
        ("protocol: {a: 1}", r"protocol\[0\]|protocol .*mapping"),
        ("ignore: x", "ignore is a whole number; got 'x'"),
        ("ignore: 1.5", "ignore is a whole number; got 1.5"),
        ("json: 'no'", r"json is true or false; got 'no' \(text\)"),
        ("json: 1", "json is true or false; got 1"),
        ("json: null", "json is null; leave the line out"),
        ("wings: 2", r"unknown setting in '.*run\.yaml' 'wings'"),
        ("- 1", "holds no settings"),
        ("a: 1\na: 2", "stands there twice"),
        ("classes: [1, x]", r"classes \[1\]|classes\[1\]|classes .*got 'x'"),
        ("[" * 5000, "YAML"),
    ],
)
def test_settings_are_checked_as_flags_are(
    line: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(line)
    preds = masks(tmp_path / "preds")
    assert main(["score", str(preds), "--truth", str(preds), "--config", str(tmp_path / "run.yaml")]) == 2
    told = capsys.readouterr().err
    assert re.search(words, told), told
    assert "Traceback" not in told


def test_settings_in_yaml_mean_what_flags_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preds = masks(tmp_path / "preds")
    (tmp_path / "run.yaml").write_text(
        f"prediction: {preds}\ntruth: {preds}\nclasses: [1]\nids: {{1: 1}}\nprotocol: [avsbench]\njson: true\nignore: null\n"
    )
    assert main(["score", "--config", str(tmp_path / "run.yaml")]) == 0
    assert '"protocol": "avsbench"' in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["propagator: null", "fusion: 5", "overlay: 'no'", "control_points: {k: 1}", "adapter: 7"]
)
def test_refine_takes_no_other_types(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(line)
    given = [str(tmp_path), "-o", str(tmp_path / "out"), "--config", str(tmp_path / "run.yaml")]
    assert main(["refine", *given]) == 2
    assert "coprop: error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_are_printed_as_they_are_and_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    out = console(width=200)
    out.print(f"note: {NASTY}")
    table = Table(NASTY)
    table.add_row(NASTY)
    out.print(table)
    say(NASTY)
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\x07" not in told and "\udcff" not in told
    assert told.count("a [bold]b[/bold] [/x] :smile: \\x1b[31mred\\x1b]0;t\\x07 \\udcff.mp4") == 4


@pytest.mark.parametrize("argument", ["\x1b[31m", "\udcff", "[/b]", "--\x1b[31m"])
def test_errors_name_nasty_arguments_harmlessly(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([argument], ["score", argument, "--truth", argument], ["report", argument], ["data", argument, "x"]):
        try:
            assert main(given) == 2
        except SystemExit as ended:
            assert ended.code == 2
        told = capsys.readouterr().err
        assert "\x1b" not in told and "Traceback" not in told


def test_an_ascii_locale_and_a_reader_that_leaves_are_no_errors() -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "coprop_plugin.cli.main"]
    told = subprocess.run([*command, "refine", "--help"], env=plain, capture_output=True, check=True)
    assert b"\\u2026" in told.stdout and not told.stderr
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        left = subprocess.run([*command, "score", "--list", "--json"], env=plain, stdout=gone, stderr=subprocess.PIPE)
    assert (left.returncode, left.stderr) == (0, b"")


@pytest.mark.parametrize("out", [".", "/"])
@pytest.mark.parametrize(
    "command",
    [
        "synth OUT --like ms3 --videos 1",
        "demo -o OUT",
        "study control-points --generators none --composed x -o OUT",
        "study plug-in --seeds 1-1 -o OUT",
        "refine x --masks y -o OUT",
        "rescore x --data-root y -o OUT",
    ],
)
def test_results_are_not_poured_into_a_folder_of_other_things(
    command: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([out if word == "OUT" else word for word in command.split()]) == 2
    assert "results need a folder of their own" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_file_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(arguments: list[str]) -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, old[1]))
        try:
            with atomic_write(tmp_path / "masks.bin") as file:
                file.write(bytes(1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        return 0

    monkeypatch.setattr("coprop_plugin.cli.main._run", fill)
    assert main(["refine"]) == 2
    assert re.search(
        r"File too large: \S*masks\.bin\. Make room .* run the same command again", capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
