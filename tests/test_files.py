"""Whatever a document holds it is a plain value or a named error; whatever lies in a folder, nothing outside changes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.errors import CoPropError
from coprop_plugin.files import Folder, check_new_folder, locked, parse_json, read_bytes, read_json, read_yaml, staged
from coprop_plugin.files.documents import DEPTH
from coprop_plugin.files.schema import Either, ListOf, MapOf, Maybe, Number, Record, Switch, Text, Whole

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(PLAIN)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert parse_json(json.dumps(value), where="it") == value


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_a_named_error(content: bytes) -> None:
    try:
        parse_json(content, where="here")
    except CoPropError as error:
        assert str(error).startswith("here")


@settings(deadline=None, max_examples=50)
@given(text=st.text("ab: -[]{}&*!|>\n#'\"\\<?,1.e~y=\t", max_size=60))
def test_any_text_is_yaml_or_a_named_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "some.yaml"
    path.write_text(text)
    try:
        read_yaml(path)
    except CoPropError as error:
        assert "some.yaml" in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1, "a": 2}', "the name 'a' stands there twice"),
        (b"[" * 100_000, f"nested more than {DEPTH} deep"),
        (b"[" * 50 + b"]" * 50, f"nested more than {DEPTH} deep"),
        (b"9" * 5000, "not JSON"),
        (b"[18446744073709551616]", "64 bits"),
        (b"[1e999]", "no finite number"),
        (b"[NaN]", "no finite number"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        ("é".encode("latin-1"), r"not in UTF-8 \(byte 0 is 0xe9\)"),
        (b"", "not JSON"),
    ],
)
def test_what_no_json_may_hold(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CoPropError, match=rf"x\.json' .*{words}|x\.json'.*{words}"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\na: 2", "the name 'a' stands there twice"),
        ("a: &x [*x]", "nested more than"),
        ("&a [&b [&c [" + "[" * 3000, "YAML"),
        ("a: " + "9" * 5000, "YAML"),
        ("a: .inf", "no finite number"),
        ("? [1, 2]\n: 3", "no name|the name"),
        ("a: !!python/object/apply:os.system [id]", "YAML"),
        ("a: !!binary aGk=", "a bytes is no plain value"),
        ("x: &a {b: 1}\ny:\n  <<: *a", "'<<' merges"),
        ("l0: &l0 [1]\n" + "".join(f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 9)}]\n" for i in range(12)), "more than"),
    ],
)  # fmt: skip
def test_what_no_yaml_may_hold(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(content)
    start = time.monotonic()
    with pytest.raises(CoPropError, match=words):
        read_yaml(tmp_path / "x.yaml")
    assert time.monotonic() - start < 60


def test_yaml_values_are_what_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("ids: 1:11\nday: 2020-01-02\nk: 010\nrate: 1e-3\noverlay: no\n")
    wanted = {"ids": "1:11", "day": "2020-01-02", "k": 10, "rate": 1e-3, "overlay": False}
    assert read_yaml(tmp_path / "x.yaml") == wanted


def test_pipes_devices_folders_and_large_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(CoPropError, match="must be a regular file"):
            read_json(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CoPropError, match="has at most"):
        read_bytes(tmp_path / "large")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for missing in (tmp_path / "loop", tmp_path / "none", "nul\0byte"):
        with pytest.raises(CoPropError, match="cannot be read from"):
            read_bytes(missing)


FORM = Record(
    needed={"flags": ListOf(Either((Whole(0, 1), Switch())), least=1)},
    free={"p": Maybe(Number(0, 1)), "kind": Text(("a", "b")), "names": MapOf(Text())},
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "it is a mapping with flags, p, kind, names; got a list of 0"),
        ({}, "flags is missing"),
        ({"flags": []}, "flags has 1 to .* values; got 0"),
        ({"flags": [1, 2]}, r"flags\[1\] is 0 or 1 or true or false; got 2 \(a whole number\)"),
        ({"flags": [1], "p": "0.5"}, r"p is a number from 0 to 1; got '0.5' \(text\)"),
        ({"flags": [1], "p": True}, r"p is a number .*; got true \(true or false\)"),
        ({"flags": [1], "kind": "c"}, "kind is one of a, b; got 'c'"),
        ({"flags": [1], "names": {"x": 1}}, r"names\.x is text; got 1"),
        ({"flags": [1], "wings": 2}, "wings is unknown; allowed are p, kind, names, flags"),
    ],
)
def test_faults_name_place_given_and_allowed(value: object, words: str) -> None:
    with pytest.raises(CoPropError, match=f"^x: {words}"):
        parse_json(json.dumps(value), where="x", form=FORM)
    assert parse_json('{"flags": [1, true], "p": null}', where="x", form=FORM)


ODD = Path(__file__).parent / "data/odd"


@pytest.mark.parametrize("path", sorted(ODD.glob("[!R]*")), ids=lambda path: path.name)
def test_small_files_that_were_found_are_named_errors(path: Path, tmp_path: Path) -> None:
    """As their readers read them; the error names the file."""
    from coprop_plugin.cli import options, refine
    from coprop_plugin.control_points.fixed import read_control_points
    from coprop_plugin.language.replay import Replay

    def settings(path: Path) -> None:
        parser = argparse.ArgumentParser()
        refine.configure(parser)
        args = options.with_config(parser, ["source", "-o", str(tmp_path), "--config", str(path)])
        options.reading_of(args)
        options.method_of(args)

    def masks(path: Path) -> None:
        pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra coco)")
        read_prediction(path).label_maps()[:]

    readers = {"points": read_control_points, "settings": settings, "answers": Replay, "masks": masks}
    with pytest.raises(CoPropError) as told:
        readers[path.name.partition("_")[0]](path)
    assert path.name in str(told.value) or path.name in ("settings_ids.yaml", "settings_number.yaml")


@pytest.mark.heavy
def test_a_minute_of_the_harness_finds_nothing(tmp_path: Path) -> None:
    """``make fuzz`` in short: mutated files of every kind, kills, races, links."""
    command = [sys.executable, "-m", "fuzz", "--work", str(tmp_path), "--seconds", "60", "--kills", "6", "--races", "4"]
    told = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is not to be touched."""
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "outside/precious").write_text("mine")
    (tmp_path / "outside/deep/1.png").write_text("mine")
    (tmp_path / "out").mkdir()
    return tmp_path / "outside"


def listing(folder: Path) -> dict[str, object]:
    return {
        str(p): (p.lstat().st_mode, p.lstat().st_mtime_ns, p.is_file() and p.read_text()) for p in folder.rglob("*")
    }


@pytest.mark.parametrize("name", ["link/x", "link/deep/1.png", "../outside/precious", "a/../../outside/precious", "/x"])
def test_nothing_is_changed_through_links_or_dots(name: str, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "out/link").symlink_to(outside)
    (tmp_path / "out/own").write_text("own")
    folder, before = Folder(tmp_path / "out"), listing(outside)
    for change in (
        lambda: folder.write(name, b"x"),
        lambda: folder.append(name, "x"),
        lambda: folder.remove(name),
        lambda: folder.make(name),
        lambda: folder.move("own", name),
        lambda: folder.move(name, "own"),
        lambda: folder.check(name),
        lambda: folder.remove_empty(name),
    ):
        with pytest.raises(CoPropError, match="leads out of the folder"):
            change()
    assert listing(outside) == before


def test_a_link_at_the_end_is_replaced_or_removed_itself(outside: Path, tmp_path: Path) -> None:
    folder, before = Folder(tmp_path / "out"), listing(outside)
    for name, target in (("file", "precious"), ("folder", "deep"), ("nowhere", "none")):
        (tmp_path / "out" / name).symlink_to(outside / target)
    with pytest.raises(CoPropError, match="leads out of the folder"):
        folder.append("file", "x")
    folder.write("file", b"ours")
    assert (tmp_path / "out/file").read_text() == "ours" and not (tmp_path / "out/file").is_symlink()
    assert folder.remove("folder") and folder.remove("nowhere") and not folder.remove("nowhere")
    assert listing(outside) == before


def test_pipes_in_a_folder_are_neither_waited_for_nor_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.log")
    with pytest.raises(CoPropError, match="no regular file"):
        Folder(tmp_path).append("run.log", "x")


@pytest.mark.parametrize("given", [".", "..", "/", "", "x/..", "../", "//"])
def test_results_need_a_folder_of_their_own(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CoPropError, match="folder"):
        check_new_folder(given)
    assert check_new_folder("out") == Path("out")
    for target in ("circle", "nowhere"):
        Path("circle").unlink(missing_ok=True)
        Path("circle").symlink_to(target)
        with pytest.raises(CoPropError, match="a link that leads nowhere"):
            check_new_folder("circle")


@pytest.mark.parametrize(
    "odd", ["", "{", "[" * 4000, '{"pid": 1e300, "host": 5}', "link", "folder", "pipe", '{"pid": -1}']
)
def test_an_odd_lock_blocks_nobody(odd: str, outside: Path, tmp_path: Path) -> None:
    lock, before = tmp_path / "out/.lock", listing(outside)
    if odd == "link":
        lock.symlink_to(outside / "precious")
    elif odd == "folder":
        (lock / "x").mkdir(parents=True)
    elif odd == "pipe":
        os.mkfifo(lock)
    else:
        lock.write_text(odd)
    out = tmp_path / "out"
    with locked(out), pytest.raises(CoPropError, match="being written by another run"), locked(out, wait_s=0):
        pass
    assert listing(outside) == before


def _hold_a_stage(path: Path) -> None:
    with staged(Folder(path)) as stage:
        (stage / "half").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_stage_of_a_killed_one_is_cleared_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_hold_a_stage, args=(tmp_path,))
    child.start()
    child.join()
    (left,) = tmp_path.glob(".partial-*")
    with staged(Folder(tmp_path)) as first:
        assert not left.exists()
        with staged(Folder(tmp_path)) as second:
            assert first.is_dir() and second.is_dir() and first != second
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]
