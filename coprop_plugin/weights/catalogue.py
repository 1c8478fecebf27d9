"""Every published layout that is known here: those of all parts, and of the pieces that come in files of their own."""

from __future__ import annotations

import importlib
import logging

from .. import parts
from ..errors import CoPropError
from .variants import State, Variant

_log = logging.getLogger("coprop_plugin")

# Networks that are no parts and have files of their own; each module says which.
PIECES = ("audio.vggish", "layers.pvt_v2", "layers.resnet")


def catalogue() -> list[Variant]:
    """The variants of all parts (their classes' ``variants``), then the pieces' ``VARIANTS``.

    A part of another package that cannot be loaded is told in the log and left out.
    """
    found: dict[Variant, None] = {}
    for kind in parts.KINDS:
        for part in parts.all_parts(kind):
            if part.weights or part.package:
                found |= dict.fromkeys(_variants_of(part))
    for module in PIECES:
        found |= dict.fromkeys(importlib.import_module(f"coprop_plugin.{module}").VARIANTS)
    return list(found)


def _variants_of(part: parts.Part) -> tuple[Variant, ...]:
    try:
        return tuple(getattr(parts.maker(part.kind, part.name), "variants", ()))
    except CoPropError as error:
        if not part.package:
            raise
        _log.warning("%s", error)
        return ()


def looks_like(state: State) -> str | None:
    """The model that a state dict is nearest to, for an error message, or ``None``.

    Only models whose mark the file holds are compared, by the names and then the shapes of their entries.
    """
    likely = [variant for variant in catalogue() if variant.is_marked(state)]
    likeness = {variant: _likeness(variant, state) for variant in likely}
    nearest = [variant for variant in likely if likeness[variant] == max(likeness.values())]
    if not nearest:
        return None
    names = " or ".join(variant.name for variant in nearest)
    return names if nearest[0].part == nearest[0].name else f"{nearest[0].part} ({names})"


def _likeness(variant: Variant, state: State) -> tuple[int, int, int]:
    """More names in common, fewer that the file lacks, more shapes in common."""
    expected = variant.expected(state)
    return (
        sum(name in expected for name in state),
        -sum(name not in state for name in expected),
        sum(expected.get(name) == tuple(value.shape) for name, value in state.items()),
    )
