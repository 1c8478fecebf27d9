"""Parts: adapters, control-point generators, propagators and fusion policies, each declared once, beside its class.

A part is named by a string, by a string with options (``"cosine:threshold=0.7"``, see :mod:`.text` for commas and
quotes), by a dict with a ``name``, or is an object already; the same dict stands in Python, YAML and an MMEngine
config. Listing parts imports none of them: ours are read from their source, those of other packages from their entry
points; looking up ``flow`` imports the flow propagator and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import CoPropError, unknown_name
from .declare import KINDS, Part, PartKind, declaration, part
from .installed import GROUPS, described, load, package_of, points_of, third_party
from .options import Option, check, fits, options_of, passes_on, shown
from .sources import own_parts
from .text import RULE, literal, names_in, split_options

__all__ = [
    "CONTRACTS",
    "GROUPS",
    "KINDS",
    "RULE",
    "PartKind",
    "Option",
    "Part",
    "all_parts",
    "build",
    "check",
    "contract",
    "describe",
    "make",
    "maker",
    "names",
    "names_in",
    "options",
    "options_of",
    "package_of",
    "parse",
    "part",
    "points_of",
    "ready",
]

# What an object of each kind is an instance of; read it before you write a part of your own.
CONTRACTS: dict[PartKind, str] = {
    "adapter": "coprop_plugin.adapters.base:Adapter",
    "control_points": "coprop_plugin.control_points.base:ControlPointGenerator",
    "propagator": "coprop_plugin.propagators.base:Propagator",
    "fusion": "coprop_plugin.fusion.base:FusionPolicy",
}


def all_parts(kind: PartKind) -> list[Part]:
    """All parts of a kind, ours and other packages', in the order of their names; none is imported."""
    theirs = {name: part for name, part in third_party(kind).items() if name not in _own(kind)}
    return sorted([*own_parts()[kind].values(), *theirs.values()], key=lambda part: part.name)


def names(kind: PartKind) -> list[str]:
    """All names of a kind, presets and other packages' entry points included; none is imported."""
    return sorted({*_own(kind), *third_party(kind)})


def describe(kind: PartKind, name: str) -> Part:
    """The part that a name means; one of another package is loaded.

    Raises:
        CoPropError: the name does not exist; the nearest one is suggested.
    """
    if found := _own(kind).get(name):
        return found
    if name not in third_party(kind):
        raise unknown_name(kind.replace("_", "-"), name, names(kind))
    return described(kind, name)


def maker(kind: PartKind, name: str) -> Callable[..., Any]:
    """The class or function behind a name.

    Raises:
        CoPropError: the name does not exist; the nearest one is suggested.
    """
    known = describe(kind, name)
    return load(kind, name) if known.package else _imported(known.target)


def options(kind: PartKind, name: str) -> tuple[Option, ...]:
    """The options of a part; a preset's own option is none.

    Raises:
        CoPropError: as :func:`maker`.
    """
    known = describe(kind, name)
    fixed = known.preset(name)
    return tuple(one for one in options_of(maker(kind, name), known.takes) if one.name not in fixed)


def ready(kind: PartKind) -> list[str]:
    """The names of the parts that run as they are: no weights, no model and no option needed."""
    return [
        one.name
        for one in all_parts(kind)
        if not describe(kind, one.name).needs and not any(option.required for option in options(kind, one.name))
    ]


def build(kind: PartKind, part: Any, **defaults: Any) -> Any:
    """Make a part from its name, its dict or itself (objects are returned as they are).

    Args:
        kind: which kind of part.
        part: ``"name"``, ``"name:option=value,…"``, ``{"name": …, option: value}`` or an object.
        defaults: options used where ``part`` does not set them.

    Raises:
        CoPropError: unknown name; an option that the part does not take, that is missing or of another type; an object
            that does not keep the kind's contract.
    """
    if isinstance(part, str):
        part = parse(part, kind=kind)
    if not isinstance(part, Mapping):
        return _kept(kind, part, f"the {kind.replace('_', '-')}")
    given = {**defaults, **part}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise CoPropError(f"a {kind} given as a dict needs a 'name', got the keys {sorted(map(str, given))}.")
    known = describe(kind, name)
    what = f"the {kind.replace('_', '-')} '{name}'"
    fixed = known.preset(name)
    if twice := sorted(set(fixed) & set(given)):
        raise CoPropError(f"{what} says {twice[0]} by its name; leave the option out, or name the part '{known.name}'.")
    return make(kind, maker(kind, name), {**given, **fixed}, what=what, takes=known.takes)


def make(
    kind: PartKind,
    maker: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    what: str = "",
    takes: Iterable[str] | None = None,
) -> Any:
    """Call a part's class or function with options, which are checked before.

    Raises:
        CoPropError: an option that it does not take, one that is missing or of another type; something made that does
            not keep the kind's contract. Errors inside the maker stay what they are.
    """
    what = what or f"the {kind.replace('_', '-')} {getattr(maker, '__name__', maker)}"
    if takes is None:
        said = declaration(maker)
        takes = said.takes if said else ()
    check(what, given, options_of(maker, tuple(takes)), open_end=passes_on(maker) and not takes)
    return _kept(kind, maker(**given), what)


def parse(text: str, *, kind: PartKind | None = None) -> dict[str, Any]:
    """``"name:option=value,…"`` as a dict; values are Python literals, or plain text.

    Args:
        text: see :mod:`coprop_plugin.parts.text` for the rule of commas and quotes.
        kind: of the part that is named; its options then say where a value ends and whether ``007`` is text.

    Raises:
        CoPropError: unknown name, or an option without a value, given twice, or nearly named.

    >>> parse("cosine:threshold=0.7")
    {'name': 'cosine', 'threshold': 0.7}
    """
    name, _, rest = text.partition(":")
    name = name.strip()
    if not rest.strip():
        return {"name": name}
    known = {one.name: one for one in options(kind, name)} if kind else None
    given: dict[str, Any] = {"name": name}
    for option, value in split_options(rest, known).items():
        read = literal(value)
        wanted = known[option].annotation if known and option in known else Any
        as_text = not fits(read, wanted) and fits(value, wanted) and not value.lstrip().startswith(("'", '"'))
        given[option] = value if as_text else read
    return given


def contract(kind: PartKind) -> type:
    """The abstract class of a kind."""
    return _imported(CONTRACTS[kind])


def _own(kind: PartKind) -> dict[str, Part]:
    return {name: part for part in own_parts()[kind].values() for name in part.names}


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _kept(kind: PartKind, made: Any, what: str) -> Any:
    """The object, if it keeps the contract of its kind."""
    wanted = contract(kind)
    if isinstance(made, wanted):
        return made
    raise CoPropError(
        f"{what} must be a name, a dict with a 'name', or an object of {wanted.__name__} (subclass "
        f"{wanted.__module__}.{wanted.__name__}); got {shown(made)}."
    )
