"""Parts by name, string, dict or object; errors that name the nearest."""

from __future__ import annotations

import pytest

from coprop_plugin import CoPropError, parts
from coprop_plugin.propagators.hold import Hold


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
        ("flow:sigma=2", "has no option 'sigma'"),
        ("flow:sigma", "has no value"),
    ],
)
def test_errors_say_what_to_write(part: object, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        parts.build("propagator", part)


@pytest.mark.parametrize("kind", ["control_points", "propagator", "fusion", "adapter"])
def test_every_listed_part_exists(kind: parts.PartKind) -> None:
    for name in parts.names(kind):
        assert callable(parts.maker(kind, name))
