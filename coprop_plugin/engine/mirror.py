"""The parts of the project in MMEngine's way of naming: ``dict(type='ClassName', option=…)``.

One rule: ``type`` is the name of the class (or function) that ``parts.PARTS`` names, or the part's own name; a part
of a third party has its own name alone. Nothing is imported before it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import Registry

from .. import parts
from ..errors import CoPropError, unknown_name

SCOPE = "coprop_plugin"


def mirrored(kind: parts.Kind) -> Registry:
    """A registry with a maker for every part of a kind, under both its names; more can be registered by users."""
    registry = Registry(kind, scope=SCOPE)
    for name in parts.names(kind):
        own = parts.PARTS[kind].get(name, "").rpartition(":")[2]
        registry.register_module(name=sorted({name, own} - {""}), module=_maker(kind, name))
    return registry


def _maker(kind: parts.Kind, name: str) -> Callable[..., Any]:
    def make(**options: Any) -> Any:
        return parts.build(kind, {"name": name, **options})

    return make


ADAPTERS = mirrored("adapter")
CONTROL_POINTS = mirrored("control_points")
PROPAGATORS = mirrored("propagator")
FUSIONS = mirrored("fusion")
REGISTRIES: dict[parts.Kind, Registry] = {
    "adapter": ADAPTERS,
    "control_points": CONTROL_POINTS,
    "propagator": PROPAGATORS,
    "fusion": FUSIONS,
}


def build_part(kind: parts.Kind, given: Any) -> Any:
    """A part from what a config holds: ``dict(type=…)``, or anything that :func:`coprop_plugin.parts.build` takes.

    Raises:
        CoPropError: an unknown type (the nearest is named), or an option that the part does not take.
    """
    if not isinstance(given, Mapping):
        return parts.build(kind, given)
    options = {key: value for key, value in given.items() if key != "_scope_"}  # put there by `pkg::` configs
    if "type" not in options:
        return parts.build(kind, options)
    name = str(options.pop("type")).removeprefix(f"{SCOPE}.")
    registry = REGISTRIES[kind]
    if name not in registry.module_dict:
        raise unknown_name(kind.replace("_", "-"), name, registry.module_dict)
    try:
        return registry.module_dict[name](**options)
    except TypeError as error:
        raise CoPropError(f"{kind} '{name}' does not take these options ({options}): {error}") from error
