"""One plain registry of parts: adapters, generators, propagators, policies and protocols, name -> maker.

A part is named by a string, by a string with options (``"cosine:threshold=0.7"``), by a dict with a
``name``, or is an object already; the same dict stands in Python, YAML and an MMEngine config.
Modules are named, not imported: looking up ``flow`` imports the flow propagator and nothing else.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal

from .errors import CoPropError, unknown_name

Kind = Literal["adapter", "control_points", "propagator", "fusion"]

# kind -> name -> "module:attribute" below this package. The class docstring's first line is its help.
PARTS: dict[Kind, dict[str, str]] = {
    "adapter": {
        "saved_masks": "adapters.saved_masks:SavedMasks",
        "callable": "adapters.callable:CallableAdapter",
        "avsegformer": "adapters.avsegformer.adapter:AVSegFormerAdapter",
        "tpavi": "adapters.tpavi.adapter:TpaviAdapter",
        "catr": "adapters.catr.adapter:CatrAdapter",
        "aavs": "adapters.aavs.adapter:AavsAdapter",
        "mmseg": "adapters.mmseg:MmsegAdapter",
    },
    "control_points": {
        "changepoint": "control_points.changepoint:ChangePoint",
        "cosine": "control_points.cosine:Cosine",
        "cosine-logmel": "control_points.cosine:CosineLogMel",
        "from_masks": "control_points.from_masks:FromMasks",
        "file": "control_points.fixed:FromFile",
        "every_k": "control_points.fixed:EveryK",
        "none": "control_points.fixed:NoChange",
        "rcpg": "control_points.language.rcpg:RCPG",
        "tagger": "control_points.tagger:Tagger",
    },
    "propagator": {
        "hold": "propagators.hold:Hold",
        "flow": "propagators.flow:Flow",
        "aott": "propagators.aot.family:aott",
        "aots": "propagators.aot.family:aots",
        "aotb": "propagators.aot.family:aotb",
        "aotl": "propagators.aot.family:aotl",
        "r50_aotl": "propagators.aot.family:r50_aotl",
        "swinb_aotl": "propagators.aot.family:swinb_aotl",
        "r50_deaotl": "propagators.aot.family:r50_deaotl",
        "audio_insert": "propagators.aot.family:AudioInsertPropagator",
    },
    "fusion": {
        "consensus": "fusion.consensus:Consensus",
        "replace": "fusion.replace:Replace",
    },
}
ENTRY_POINT_GROUPS: dict[Kind, str] = {"adapter": "coprop_plugin.adapters"}


def names(kind: Kind) -> list[str]:
    """All names of a kind, those of other packages' entry points included (without importing them)."""
    return sorted(set(PARTS[kind]) | {point.name for point in third_party(kind)})


def third_party(kind: Kind) -> list[Any]:
    """The entry points that other installed packages add for this kind."""
    group = ENTRY_POINT_GROUPS.get(kind)
    return list(entry_points(group=group)) if group else []


def maker(kind: Kind, name: str) -> Callable[..., Any]:
    """The class or function behind a name.

    Raises:
        CoPropError: the name does not exist; the nearest one is suggested.
    """
    if target := PARTS[kind].get(name):
        module, attribute = target.split(":")
        return getattr(importlib.import_module(f"coprop_plugin.{module}"), attribute)
    for point in third_party(kind):
        if point.name == name:
            return point.load()
    raise unknown_name(kind.replace("_", "-"), name, names(kind))


def build(kind: Kind, part: Any, **defaults: Any) -> Any:
    """Make a part from its name, its dict or itself (objects are returned as they are).

    Args:
        kind: which table to look in.
        part: ``"name"``, ``"name:option=value,…"``, ``{"name": …, option: value}`` or an object.
        defaults: options used where ``part`` does not set them.

    Raises:
        CoPropError: unknown name, or an option that the part does not take.
    """
    if isinstance(part, str):
        part = parse(part)
    if not isinstance(part, Mapping):
        return part
    options = {**defaults, **part}
    name = options.pop("name", None)
    if name is None:
        raise CoPropError(f"a {kind} given as a dict needs a 'name', got the keys {sorted(options)}.")
    make = maker(kind, str(name))
    try:
        return make(**options)
    except TypeError as error:
        raise CoPropError(f"{kind} '{name}' does not take these options ({options}): {error}") from error


def parse(text: str) -> dict[str, Any]:
    """``"name:k=v,k=v"`` as a dict; values are Python literals, or plain strings.

    >>> parse("cosine:threshold=0.7")
    {'name': 'cosine', 'threshold': 0.7}
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {"name": name}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise CoPropError(f"in '{text}' the option '{item}' has no value; write {name}:{item}=VALUE.")
        try:
            options[key.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key.strip()] = value
    return options
