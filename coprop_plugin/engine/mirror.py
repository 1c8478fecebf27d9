"""The parts of the project in MMEngine's way of naming: ``dict(type='ClassName', option=…)``.

One rule: ``type`` is the name of the part's class (or function), or one of the part's own names. Nothing is imported
before it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import Registry

from .. import parts
from ..errors import unknown_name

SCOPE = "coprop_plugin"


def mirrored(kind: parts.PartKind) -> Registry:
    """A registry with a maker for every part of a kind, under both its names; more can be registered by users."""
    registry = Registry(kind, scope=SCOPE)
    for name in parts.names(kind):
        registry.register_module(name=name, module=_maker(kind, name))
    for part in parts.all_parts(kind):
        if part.class_name not in registry.module_dict:  # a name of ours is not taken by another package's class
            registry.register_module(name=part.class_name, module=_maker(kind, part.name))
    return registry


def _maker(kind: parts.PartKind, name: str) -> Callable[..., Any]:
    def make(**options: Any) -> Any:
        return parts.build(kind, {"name": name, **options})

    return make


ADAPTERS = mirrored("adapter")
CONTROL_POINTS = mirrored("control_points")
PROPAGATORS = mirrored("propagator")
FUSIONS = mirrored("fusion")
REGISTRIES: dict[parts.PartKind, Registry] = {
    "adapter": ADAPTERS,
    "control_points": CONTROL_POINTS,
    "propagator": PROPAGATORS,
    "fusion": FUSIONS,
}


def build_part(kind: parts.PartKind, given: Any) -> Any:
    """A part from what a config holds: ``dict(type=…)``, or anything that :func:`coprop_plugin.parts.build` takes.

    ``type`` may be the class itself, as MMEngine's Python-style configs have it. An option that is such a dict again (the
    ``fallback`` of ``RCPG``) is a part of the same kind.

    Raises:
        CoPropError: an unknown type (the nearest is named), or an option that the part does not take.
    """
    if not isinstance(given, Mapping):
        return parts.build(kind, given)
    options = {
        key: build_part(kind, value) if isinstance(value, Mapping) and "type" in value else value
        for key, value in without_scopes(given).items()
    }
    if "type" not in options:
        return parts.build(kind, options)
    made_by = _registered(kind, options.pop("type"))
    return (
        made_by(**options) if made_by in REGISTRIES[kind].module_dict.values() else parts.make(kind, made_by, options)
    )


def built_parts(given: Mapping[parts.PartKind, Any]) -> dict[str, Any]:
    """Several parts at once, by their kinds."""
    return {kind: build_part(kind, part) for kind, part in given.items()}


def _registered(kind: parts.PartKind, type_: Any) -> Callable[..., Any]:
    if callable(type_):
        return type_
    name = str(type_).removeprefix(f"{SCOPE}.")
    known = REGISTRIES[kind].module_dict
    if name not in known:
        raise unknown_name(kind.replace("_", "-"), name, known)
    return known[name]


def without_scopes(value: Any) -> Any:
    """Plain dicts and lists, without the ``_scope_`` that ``pkg::`` configs put into each dict of theirs."""
    if isinstance(value, Mapping):
        return {key: without_scopes(entry) for key, entry in value.items() if key != "_scope_"}
    return [*map(without_scopes, value)] if isinstance(value, list) else value
