"""Parts: declared once and read without import, named in four ways, their options checked before anything is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from coprop_plugin import CoPropError, parts
from coprop_plugin.cli.main import main
from coprop_plugin.cli.parts import markdown
from coprop_plugin.errors import MissingExtra
from coprop_plugin.parts.options import UNKNOWN
from coprop_plugin.parts.text import literal, split_options
from coprop_plugin.propagators.base import Propagator
from coprop_plugin.propagators.hold import Hold

ROOT = Path(__file__).resolve().parent.parent
ALL = [(part.kind, part.name) for kind in parts.KINDS for part in parts.all_parts(kind)]


def test_a_name_a_string_a_dict_and_an_object_are_one() -> None:
    made = Hold()
    assert parts.build("propagator", made) is made
    assert isinstance(parts.build("propagator", "hold"), Hold)
    by_text = parts.build("propagator", "flow:max_side_px=64,max_gap_s=0")
    by_dict = parts.build("propagator", {"name": "flow", "max_side_px": 64, "max_gap_s": 0})
    assert by_text.max_side_px == by_dict.max_side_px == 64 and by_text.max_gap_s == by_dict.max_gap_s == 0


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("flwo", "Did you mean 'flow'"),
        ({"max_side_px": 3}, "needs a 'name'"),
        ({"name": 3}, "needs a 'name'"),
        ("flow:sigma=2", "has no option 'sigma'"),
        ("flow:sigma", "has no value"),
        ("flow:max_gap_s=1,max_gap_s=2", "'max_gap_s' is given twice"),
        ("flow:max_side_px=64,max_gap=1", "no option 'max_gap'. Did you mean 'max_gap_s'"),
        ("flow:max_side_px='64", "has no end"),
        ("flow:max_side_px='64'x", "a comma must follow"),
        ("aott:model=aotl", "says model by its name"),
        ({"name": "aott", "model": "aotl"}, "says model by its name"),
    ],
)
def test_errors_say_what_to_write(part: object, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        parts.build("propagator", part)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_what_is_read_from_the_source_is_what_the_objects_say(kind: parts.PartKind, name: str) -> None:
    made = parts.maker(kind, name)
    assert parts.declaration(made) == parts.describe(kind, name)
    assert (issubclass(made, parts.contract(kind)) and made.name == name) or kind == "adapter"
    for option in parts.options(kind, name):
        assert option.annotation is not UNKNOWN, f"the type of {option.name} cannot be looked up"
        assert option.help, f"{kind} {name}: the docstring says nothing of {option.name}"


def test_lists_and_help_import_no_part() -> None:
    code = (
        "import sys; from coprop_plugin.cli.main import main; main(['parts']); main(['parts', '--markdown'])\n"
        "try: main(['refine', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'mmengine'} & set(sys.modules)))\n"
        "print([m for m in sys.modules if m.startswith(('coprop_plugin.propagators', 'coprop_plugin.adapters'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-2:] == ["[]", "[]"]
    for kind in parts.KINDS:
        assert all(name in done.stdout for name in parts.names(kind))


def test_the_readme_holds_the_table() -> None:
    assert markdown(list(parts.KINDS)) in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "name"), [("propagator", "r50_aotl"), ("control_points", "changepoint"), ("adapter", "saved_masks")]
)
def test_one_part_with_its_options(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts", kind.replace("_", "-"), name]) == 0
    told = capsys.readouterr().out
    assert name in told and "options" in told and "default" in told and "example" in told
    assert main(["parts", kind, name, "--json"]) == 0
    assert main(["parts", kind, "no-such"]) == 2 and main(["parts", "colour"]) == 2


class TestOptionStrings:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("file:path=paths/lr=0.1,bs=2/x.json", "paths/lr=0.1,bs=2/x.json"),
            ("file:path='paths/lr=0.1,bs=2/x.json'", "paths/lr=0.1,bs=2/x.json"),
            ("file:path=C:\\clips\\a.json", "C:\\clips\\a.json"),
            ('file:path="it\'s, path=2.json"', "it's, path=2.json"),
            ("file:path=007", "007"),
            ("file:path=[a].json", "[a].json"),
            ("file:path='[a].json'", "[a].json"),
        ],
    )
    def test_paths_of_all_kinds(self, text: str, path: str) -> None:
        if "[a].json" in text and "'" not in text:
            with pytest.raises(CoPropError, match="a comma must follow"):
                parts.parse(text, kind="control_points")
            return
        assert parts.parse(text, kind="control_points") == {"name": "file", "path": path}

    def test_lists_and_mappings(self) -> None:
        given = parts.parse("saved_masks:path=a,ids={1: 11, 2: 40},classes=[11, 40],kind=hard", kind="adapter")
        assert given == {"name": "saved_masks", "path": "a", "ids": {1: 11, 2: 40}, "classes": [11, 40], "kind": "hard"}

    @given(st.text(max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_any_value_in_quotes_comes_back(self, value: str) -> None:
        assert parts.parse(f"file:path={value!r}", kind="control_points")["path"] == value

    @given(st.text(alphabet="ab=,:'\"[]{}()0-\\ ", max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_odd_strings_are_read_or_refused(self, text: str) -> None:
        for allowed in (None, ["a", "ab"]):
            try:
                for value in split_options(text, allowed).values():
                    literal(value)
            except CoPropError:
                pass

    def test_hostile_literals_are_text(self) -> None:
        for text in ("-" * 3000 + "1", "{[]:1}", "(" * 5000, "9" * 5000, "[" * 200 + "]" * 200 + "x"):
            assert literal(text) == text


def _control_points(text: str) -> tuple[parts.PartKind, str]:
    return "control_points", text


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("fusion", "consensus:max_shift_s=abc", "max_shift_s is a finite number, got 'abc'"),
        ("fusion", "consensus:max_shift_s=-1", "max_shift_s from 0"),
        ("fusion", f"consensus:max_shift_s={10**20}", "max_shift_s is a finite number, got 1000"),
        ("control_points", f"changepoint:evidence={10**400}", "evidence is a finite number, got 1000"),
        ("fusion", "consensus:max_shift_s=1e999", "max_shift_s is a finite number"),
        ("fusion", "consensus:beliefs={'shft': 1}", "unknown belief of consensus 'shft'. Did you mean 'shift'"),
        ("fusion", "consensus:beliefs={'shift': -1}", "the belief 'shift' is above 0"),
        ("fusion", "replace:empty=0", "empty is one of propagate, base, got 0"),
        ("control_points", "every_k:k=100000000000000000000", "k is a whole number"),
        ("control_points", "every_k:k=10**20", "k is a whole number"),
        ("control_points", "every_k:k=" + "-" * 3000 + "1", "k is a whole number"),
        ("control_points", "every_k:k=0", "k of frames, 1 or more"),
        ("control_points", "every_k:k=True", "k is a whole number"),
        ("control_points", "file:path=5.5", "no|cannot"),
        ("control_points", "file", "needs the option 'path'"),
        ("adapter", "saved_masks:path=.,first_index=x", "first_index is a whole number"),
        ("adapter", "saved_masks:path=.,first_index=-1", "0 or more"),
        ("adapter", "saved_masks:path=.,ids={[]:1}", r"ids is a mapping .*got '\{\[\]:1\}'"),
        ("adapter", "saved_masks:path=.,classes=[40000]", "from 1 to 32767"),
        ("adapter", "saved_masks:path=.,classes=[1099511627776]", "from 1 to 32767"),
        ("adapter", "saved_masks:path=.,ids={1: 40000}", "from 1 to 32767"),
        ("propagator", "flow:cache_bytes=-1", "cache_bytes >= 0"),
    ],
)
def test_wrong_options_are_named_when_the_part_is_made(kind: parts.PartKind, text: str, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        made = parts.build(kind, text)
        made(None)  # a file is looked for when it is asked for


def test_a_file_value_that_is_given_twice_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from coprop_plugin.cli.options import ids_of

    with pytest.raises(CoPropError, match="names a file value twice"):
        ids_of("255:1,255:2")


def test_an_error_inside_a_maker_stays_what_it_is() -> None:
    class Broken(Hold):
        def __init__(self, *, size: int = 3) -> None:
            raise TypeError("deep inside")

    with pytest.raises(TypeError, match="deep inside"):
        parts.make("propagator", Broken, {"size": 2})
    with pytest.raises(CoPropError, match=r"has no option 'sise'. Did you mean 'size'"):
        parts.make("propagator", Broken, {"sise": 2})


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.one_of(st.integers(), st.text(max_size=3)), st.one_of(st.integers(), st.floats()), max_size=3),
    st.sampled_from([10**20, -(10**400), 1e308, object(), {1}, np.float32(2), np.zeros(3), b"\0", "\0", "\ud800"]),
)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_no_value_of_any_option_is_a_traceback(kind: parts.PartKind, name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    options = [option.name for option in parts.options(kind, name) if option.name != "cache"]
    required = {"k": 2, "path": "x.json", "function": "numpy:zeros_like", "model": "none/such"}

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        option = data.draw(st.sampled_from(options))
        given_ = {key: value for key, value in required.items() if key in options} | {option: data.draw(ODD)}
        try:
            made = parts.build(kind, {"name": name, **given_})
        except (CoPropError, MissingExtra):
            return
        assert isinstance(made, parts.contract(kind))

    if options:
        check()


def test_the_contract_of_a_propagator_is_kept_by_all() -> None:
    assert all(issubclass(parts.maker("propagator", name), Propagator) for name in parts.names("propagator"))
