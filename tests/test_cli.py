"""The command line: fast help, clear errors, settings from YAML."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from coprop_plugin.cli import main as cli, options
from coprop_plugin.errors import CoPropError


def coprop(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coprop_plugin.cli.main import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'cv2', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]") and "coprop refine video.mp4 --masks" in done.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert f"coprop {verb}" in capsys.readouterr().out.split("examples:")[1]


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = coprop("refien", capsys=capsys)
    assert code == 2 and "Did you mean 'refine'" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["refine", "missing.mp4", "--masks", "m", "-o", "o"], "missing.mp4"),
        (["refine", "http://example.org/x.mp4", "--masks", "m", "-o", "o"], "URL"),
        (["refine", "--masks", "m", "-o", "o"], "source"),
    ],
)
def test_wrong_input_ends_with_two_and_one_clear_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and message in err and "Traceback" not in err
    assert not (tmp_path / "o").exists()


def _refine_parser() -> argparse.ArgumentParser:
    from coprop_plugin.cli import refine

    parser = argparse.ArgumentParser()
    refine.configure(parser)
    return parser


def test_settings_come_from_yaml_and_flags_win(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("source: v.mp4\nout: o\nmasks: preds\npropagator: {name: flow, max_gap_s: 0}\nsilent_ok: true\n")
    args = options.with_config(_refine_parser(), ["--config", str(config), "--masks", "other"])
    assert (args.source, args.out, args.masks, args.silent_ok) == ("v.mp4", "o", "other", True)
    assert options.method_of(args).propagator.max_gap_s == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("propagater: hold", "Did you mean 'propagator'"),
        ("- hold", "no settings"),
        ("a: [", "not YAML"),
        ("mode: clop", "clip"),
    ],
)
def test_wrong_yaml_is_told(text: str, message: str, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(CoPropError, match=message):
        options.with_config(_refine_parser(), ["--config", str(config)])


def test_ids_and_classes_are_parsed_strictly() -> None:
    assert options.ids_of("1:11,2:40") == {1: 11, 2: 40} and options.classes_of("1,5") == (1, 5)
    for wrong in (lambda: options.ids_of("1=2"), lambda: options.classes_of("all")):
        with pytest.raises(CoPropError, match="got '"):
            wrong()


def test_doctor_tells_everything_in_one_block(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = coprop("doctor", "--json", capsys=capsys)
    facts = json.loads(out)
    assert code == 0 and facts["packages"]["coprop-plugin"] and facts["owners"]["cv2"] == "opencv-python"
    assert {"system", "torch", "decoders", "caches"} <= set(facts)


@pytest.mark.parametrize(
    ("command", "new", "old", "value"),
    [
        (("synth", "out"), "--like", "--kind", "ms3"),
        (("study", "plug-in"), "--like", "--kind", "ms3"),
        (("study", "control-points"), "--like", "--kind", "ms3"),
        (("study", "control-points"), "--recordings", "--audio", "sounds"),
        (("score",), "--predicted-control-points", "--control-points", "points.json"),
        (("train", "propagator", "-o", "run", "--data", "synth:moc:0-1"), "--hears", "--audio", "none"),
        (("train", "propagator", "--data", "synth:moc:0-1"), "--out", "--output", "run"),
        (("report", "out"), "--out", "--output", "page.html"),
    ],
)
def test_a_flag_has_one_meaning_and_its_old_name_still_works(
    command: tuple[str, ...], new: str, old: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from coprop_plugin.cli.main import parser_of

    _, parser, words = parser_of(command)
    assert vars(parser.parse_args([*words, new, value])) == vars(parser.parse_args([*words, old, value]))
    with pytest.raises(SystemExit):
        parser.parse_args([*words[: command[0] == "study"], "--help"])
    said = capsys.readouterr().out
    assert new in said and f"{old} " not in said
