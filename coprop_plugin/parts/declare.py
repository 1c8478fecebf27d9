"""What a part says of itself, once, beside its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

PartKind = Literal["adapter", "control_points", "propagator", "fusion"]
KINDS: tuple[PartKind, ...] = get_args(PartKind)
DECLARED = "__coprop_part__"  # the attribute of a class or function that holds its Part

Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Part:
    """One adapter, control-point generator, propagator or fusion policy.

    Attributes:
        kind, name: what it is, and what users call it.
        target: where its class or function stands, ``"module:attribute"``; imported when the part is used.
        help: the first line of its docstring.
        presets: further names and their one line of help; each stands for the part with ``preset_option`` set to it.
        preset_option: the option that a preset sets.
        needs: what the user must bring (weights, a model, a file), empty where it runs as it is.
        extra: the extra of ``pip install 'coprop-plugin[…]'`` that it needs, if any.
        weights: where its weights come from and under which licence; a part with weights has ``variants``.
        takes: further callables, ``"module:attribute"``, whose options it passes on (its ``**options``).
        example: options as in an option string, for the help.
        package: the installed package that adds it, empty for ours.
    """

    kind: PartKind
    name: str
    target: str
    help: str
    presets: Mapping[str, str] = field(default_factory=dict)
    preset_option: str = ""
    needs: str = ""
    extra: str = ""
    weights: str = ""
    takes: tuple[str, ...] = ()
    example: str = ""
    package: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The name and those of the presets."""
        return (self.name, *self.presets)

    @property
    def class_name(self) -> str:
        """The name of the class or function, by which MMEngine's configs call it."""
        return self.target.rpartition(":")[2]

    def preset(self, name: str) -> dict[str, str]:
        """The options that a name of this part stands for."""
        return {self.preset_option: name} if name in self.presets else {}


def part(
    kind: PartKind,
    name: str,
    *,
    presets: Mapping[str, str] | None = None,
    preset_option: str = "",
    needs: str = "",
    extra: str = "",
    weights: str = "",
    takes: tuple[str, ...] = (),
    example: str = "",
) -> Callable[[Made], Made]:
    """Declare the class or function below as a part; its attribute ``name`` is set.

    The arguments are those of :class:`Part`, written as plain literals: lists of parts read them from the source
    without importing it. The docstring's first line is the part's help.
    """

    def declare(made: Made) -> Made:
        declared = Part(
            kind,
            name,
            f"{made.__module__}:{made.__qualname__}",
            first_line(made.__doc__),
            presets or {},
            preset_option,
            needs,
            extra,
            weights,
            takes,
            example,
        )
        setattr(made, DECLARED, declared)
        if isinstance(made, type) and "name" not in vars(made):
            made.name = name  # type: ignore[attr-defined]
        return made

    return declare


def declaration(made: object) -> Part | None:
    """What a class or function itself was declared as (not what its base class was)."""
    return getattr(made, "__dict__", {}).get(DECLARED)


def first_line(doc: str | None) -> str:
    """The first line of a docstring."""
    return (doc or "").strip().partition("\n")[0].strip()
