"""Parts that other installed packages add, by entry points: listed without being imported, loaded on use."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import CoPropError
from .declare import KINDS, Part, PartKind, declaration, first_line

# An entry point's name is the part's name, and its value the class: everything = "package.module:Class"
GROUPS: dict[PartKind, str] = {
    "adapter": "coprop_plugin.adapters",
    "control_points": "coprop_plugin.control_points",
    "propagator": "coprop_plugin.propagators",
    "fusion": "coprop_plugin.fusion",
}
assert set(GROUPS) == set(KINDS)


def points_of(kind: PartKind) -> list[EntryPoint]:
    """The entry points of a kind, in the order of their names."""
    return sorted(entry_points(group=GROUPS[kind]), key=lambda point: (point.name, point.value))


def third_party(kind: PartKind) -> dict[str, Part]:
    """Name -> part, as far as it is known without importing anything."""
    return {point.name: listed(kind, point) for point in points_of(kind)}


def listed(kind: PartKind, point: EntryPoint) -> Part:
    """What an entry point says by itself."""
    package = package_of(point)
    return Part(kind, point.name, point.value, f"added by the package {package} ({point.value})", package=package)


def package_of(point: EntryPoint) -> str:
    """``"name version"`` of the package that an entry point belongs to."""
    found = getattr(point, "dist", None)
    return f"{found.metadata['Name']} {found.version}" if found else point.value.partition(":")[0]


def load(kind: PartKind, name: str) -> Any:
    """The class or function behind the entry point of this name.

    Raises:
        CoPropError: no such entry point, two packages claim the name, or the package cannot be imported.
    """
    points = [point for point in points_of(kind) if point.name == name]
    if len({point.value for point in points}) != 1:
        claims = ", ".join(f"{package_of(point)} ({point.value})" for point in points) or "nobody"
        raise CoPropError(f"the {kind} '{name}' is claimed by {claims}; one package must. Uninstall the others.")
    point = points[0]
    try:
        made = point.load()
    except Exception as error:  # a package of somebody else: anything can come out of it
        raise CoPropError(
            f"the {kind} '{name}' of the package {package_of(point)} cannot be loaded from '{point.value}': "
            f"{type(error).__name__}: {error}"
        ) from error
    if not callable(made):
        raise CoPropError(
            f"the entry point '{name}' of {GROUPS[kind]} names '{point.value}', which is no class or function."
        )
    return made


def described(kind: PartKind, name: str) -> Part:
    """The part of this name with what its class declares, or at least documents; loads it."""
    made = load(kind, name)
    known = third_party(kind)[name]
    said = declaration(made)
    if said is None or said.kind != kind or name not in said.names:
        return replace(known, help=first_line(getattr(made, "__doc__", "")) or known.help)
    return replace(said, package=known.package)
