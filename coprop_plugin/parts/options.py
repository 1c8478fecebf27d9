"""The options of a part, from its signature; their types are checked here, for all parts, before anything is made."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import numbers
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from ..errors import CoPropError

MOST = 2**63 - 1  # whole numbers beyond it fit in no array
UNKNOWN = object()  # an annotation that cannot be looked up: nothing is checked
_MARKUP = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`|``([^`]*)``")  # of docstrings; users see the plain words
_ARGS = re.compile(r"^\s*(?:Args|Attributes):\s*\n(?P<args>(?:[ \t]+\S.*\n?|\s*\n)+)", re.M)


@dataclass(frozen=True)
class Option:
    """One option of a part.

    Attributes:
        name: as users write it.
        annotation: the type, looked up.
        text: the type as the source has it.
        default: ``inspect.Parameter.empty`` where it must be given.
        help: its line in the docstring.
    """

    name: str
    annotation: Any
    text: str
    default: Any
    help: str = ""

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def options_of(make: Callable[..., Any], takes: Sequence[str] = ()) -> tuple[Option, ...]:
    """The options of a class or function, and those with a default of the callables that its ``**options`` go to.

    Args:
        make: a class or function.
        takes: the callables, ``"module:attribute"`` below this package.
    """
    options = {option.name: option for option in _own(make)}
    for target in takes:
        module, _, attribute = target.partition(":")
        further = getattr(importlib.import_module(f"coprop_plugin.{module}"), attribute)
        for option in _own(further):
            if not option.required:  # what must be given there, the part itself knows
                options.setdefault(option.name, option)
    return tuple(options.values())


def check(what: str, given: Mapping[str, Any], options: Iterable[Option], *, open_end: bool = False) -> None:
    """Whether these options may be given.

    Args:
        what: the part in words, for messages.
        given: option -> value.
        options: those that there are.
        open_end: further ones are passed on unchecked.

    Raises:
        CoPropError: an option that there is not (the nearest is named), one that is missing, or a value of another type.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known and not open_end:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            allowed = f"Allowed: {', '.join(known)}." if known else "It takes none."
            raise CoPropError(f"{what} has no option '{name}'.{hint} {allowed}")
    for option in known.values():
        if option.name in given:
            value = given[option.name]
            if not fits(value, option.annotation):
                raise CoPropError(f"{what}: {option.name} is {words(option.annotation)}, got {shown(value)}.")
        elif option.required:
            raise CoPropError(f"{what} needs the option '{option.name}': {option.help or words(option.annotation)}")


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of an annotated type; a whole number does for a float, a list for a tuple."""
    if wanted is Any or wanted is UNKNOWN or wanted is object:
        return True
    if wanted is None or wanted is type(None):
        return value is None
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is not None:
        return _fits_container(value, origin, inner)
    if wanted is bool:
        return isinstance(value, bool)
    if wanted is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool) and abs(int(value)) <= MOST
    if wanted is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and _finite(value)
    if wanted is str or wanted is Path:
        return isinstance(value, wanted) and _is_text(str(value))
    return not isinstance(wanted, type) or _is_instance(value, wanted)


def words(wanted: Any) -> str:
    """A type in words, for messages."""
    plain = {
        bool: "True or False",
        int: "a whole number (of 63 bits at most)",
        float: "a finite number",
        str: "text",
        Path: "a path",
        None: "None",
        type(None): "None",
    }
    if isinstance(wanted, type | types.NoneType) and wanted in plain:
        return plain[wanted]
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(one) for one in inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping {{{': '.join(words(one) for one in inner)}}}"
    if origin is not None and issubclass(origin, Sequence):
        return f"a list of [{', '.join(words(one) for one in inner if one is not Ellipsis)}]"
    if origin is not None and not isinstance(wanted, type):
        return "a function" if origin is _callable_origin() else getattr(origin, "__name__", str(origin))
    return f"a {getattr(wanted, '__name__', wanted)}"


def shown(value: object, limit: int = 60) -> str:
    """A value in a message, with its type, however large it is."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # deep, or a whole number of thousands of digits
        text = "…"
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return f"{text} ({type(value).__name__})"


def _own(make: Callable[..., Any]) -> Iterable[Option]:
    helps = _helps(make)
    for parameter in _parameters(make):
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        annotation, text = _looked_up(make, parameter.annotation)
        yield Option(parameter.name, annotation, text, parameter.default, helps.get(parameter.name, ""))


def passes_on(make: Callable[..., Any]) -> bool:
    """Whether options without a name of their own are taken, or nothing is known of what is taken."""
    parameters = _parameters(make)
    return any(one.kind is one.VAR_KEYWORD for one in parameters) or not _has_signature(make)


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(make).parameters.values()) if _has_signature(make) else []


def _has_signature(make: Callable[..., Any]) -> bool:
    try:
        inspect.signature(make)
    except ValueError:  # some builtins show none
        return False
    return True


def _looked_up(make: Callable[..., Any], annotation: Any) -> tuple[Any, str]:
    if annotation is inspect.Parameter.empty:
        return UNKNOWN, ""
    if not isinstance(annotation, str):
        return annotation, getattr(annotation, "__name__", str(annotation))
    # A class that inherits its __init__ inherits the names that its annotations mean too.
    made_by = getattr(make, "__init__", make) if isinstance(make, type) else make
    names = getattr(made_by, "__globals__", None) or vars(sys.modules[make.__module__])
    try:
        return eval(annotation, dict(names)), annotation  # noqa: S307 - the source of a part that is imported already
    except (NameError, AttributeError, TypeError):  # named under TYPE_CHECKING only
        return UNKNOWN, annotation


def _helps(make: Callable[..., Any]) -> dict[str, str]:
    """Option -> what the docstring's ``Args:`` says of it."""
    found = _ARGS.search(inspect.cleandoc(make.__doc__ or "") + "\n")
    lines = inspect.cleandoc(found["args"]).splitlines() if found else []
    helps: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            head, _, text = line.partition(":")
            names = [name.strip() for name in head.split(",")]
            helps |= dict.fromkeys(names, text.strip())
        elif line.strip():
            helps |= {name: f"{helps[name]} {line.strip()}" for name in names}
        else:
            names = []
    return {name: _MARKUP.sub(r"\1\2", text) for name, text in helps.items()}


def _fits_container(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if origin is _callable_origin():
        return callable(value)
    if not isinstance(origin, type):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits_key(key, inner[0]) and fits(entry, inner[1]) for key, entry in value.items()
        )
    if issubclass(origin, Sequence):
        entries = inner[0] if inner else Any
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and all(fits(entry, entries) for entry in value)
        )
    return _is_instance(value, origin)


def _fits_key(key: Any, wanted: Any) -> bool:
    """JSON's keys are texts, whole numbers too."""
    return fits(key, wanted) or (wanted is int and isinstance(key, str) and key.strip().lstrip("-").isdecimal())


def _is_instance(value: Any, wanted: type) -> bool:
    try:
        return isinstance(value, wanted)
    except TypeError:  # a protocol that cannot be asked
        return True


def _finite(value: numbers.Real) -> bool:
    if isinstance(value, numbers.Integral):
        return abs(int(value)) <= MOST  # arrays make objects of larger ones
    return math.isfinite(value)


def _is_text(text: str) -> bool:
    """No NUL, which no path may hold; surrogates only as file names have them."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _callable_origin() -> Any:
    return get_origin(Callable[..., Any])
