"""``--config RUN.yaml``: a setting is checked as the flag of its name would be, and becomes its default.

Switches take ``true`` or ``false``, flags that can be repeated take a list, parts take their dict, ``ids`` a mapping;
everything else is one value that goes through the flag's own type and choices, as if it had been typed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from ..errors import CoPropError, unknown_name
from ..files import read_yaml
from ..files.schema import Either, ListOf, MapOf, Number, Record, Switch, Text, Whole, shown

PARTS = ("adapter", "control_points", "propagator", "fusion")
IDS = ("ids", "truth_ids")
_SCALAR = Either((Text(), Whole(), Number()))
_PART = Record(needed={"name": Text()}, others=True)


def take_settings(parser: argparse.ArgumentParser, path: str) -> None:
    """Make what a YAML file says the defaults of the parser's flags.

    Raises:
        CoPropError: no such file, no YAML mapping, a name that is no flag, or a value that the flag would not take;
            the message names the file, the setting, what was given and what is allowed.
    """
    settings = read_yaml(path, what="a file of settings (YAML)")
    if not isinstance(settings, dict):
        raise CoPropError(f"'{path}' holds no settings; write lines as  propagator: flow")
    known = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    defaults = {}
    for name, value in settings.items():
        if name not in known:
            raise unknown_name(f"setting in '{path}'", name, known)
        action = known[name]
        try:
            defaults[name] = _value(action, value)
        except ValueError as error:
            raise CoPropError(f"'{path}': {name} {error}.") from error
        action.required = False
        action.nargs = "?" if not action.option_strings and action.nargs is None else action.nargs
    parser.set_defaults(**defaults)


def _value(action: argparse.Action, value: Any) -> Any:
    """The setting as its flag would leave it; a ``ValueError`` says what is allowed."""
    if value is None:
        if action.default is None:
            return None
        raise ValueError(f"is null; leave the line out to take the default ({shown(action.default)})")
    if action.nargs == 0:
        _expect(value, Switch())
        return value
    if action.dest in PARTS and isinstance(value, dict):
        _expect(value, _PART)
        return value
    if action.dest in IDS and isinstance(value, dict):
        _expect(value, MapOf(Whole()))
        return _ids(value)
    if isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+"):
        values = value if isinstance(value, list) else [value]
        _expect(values, ListOf(_SCALAR))
        return [_typed(action, item) for item in values]
    if action.dest == "classes" and isinstance(value, list):
        _expect(value, ListOf(Whole(), least=1))
        return ",".join(map(str, value))
    _expect(value, _SCALAR)
    return _typed(action, value)


def _ids(value: dict[Any, int]) -> str:
    try:
        return ",".join(f"{int(there)}:{here}" for there, here in value.items())
    except ValueError as error:
        raise ValueError(f"maps whole numbers to classes, as {{1: 11, 2: 40}}; got {error}") from error


def _typed(action: argparse.Action, value: Any) -> Any:
    """One value through the flag's own type and choices."""
    text = str(value)
    try:
        typed = action.type(text) if callable(action.type) else text
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        kind = getattr(action.type, "__name__", "value")
        raise ValueError(f"is a whole number; got {shown(value)}" if kind == "int" else f"is wrong: {error}") from error
    if action.choices is not None and typed not in action.choices:
        allowed: Iterable[Any] = action.choices
        raise ValueError(f"is one of {', '.join(map(str, allowed))}; got {shown(value)}")
    return typed


def _expect(value: Any, form: Any) -> None:
    if (fault := next(form.faults(value, ""), None)) is not None:
        raise ValueError(fault.removeprefix("it "))
