"""What a document must hold, written down as data: each form finds the first value that does not fit, and says where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

SHOWN_CHARS = 60
_PLAIN = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}


class Form(Protocol):
    """One form of value."""

    @property
    def allowed(self) -> str:
        """What fits, in words."""
        ...

    def faults(self, value: Any, where: str) -> Iterator[str]:
        """A sentence for every value that does not fit; the caller mostly wants the first."""
        ...


@dataclass(frozen=True)
class _Plain:
    """What the forms of single values share."""

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if not self.fits(value):
            yield f"{where or 'it'} is {self.allowed}; got {shown(value)}"

    def fits(self, value: Any) -> bool:
        raise NotImplementedError

    @property
    def allowed(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Text(_Plain):
    """Text, one of ``choices`` where there are any, of at most ``most`` characters."""

    choices: tuple[str, ...] = ()
    most: int = 1 << 20

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.choices)}" if self.choices else "text"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and len(value) <= self.most and (not self.choices or value in self.choices)


@dataclass(frozen=True)
class Switch(_Plain):
    """``true`` or ``false``; the words "yes" and "no" as text are neither."""

    @property
    def allowed(self) -> str:
        return "true or false"

    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Whole(_Plain):
    """A whole number from ``low`` to ``high``, both allowed. ``true`` is none."""

    low: int = -(1 << 53)
    high: int = 1 << 53

    @property
    def allowed(self) -> str:
        return "0 or 1" if (self.low, self.high) == (0, 1) else f"a whole number from {self.low} to {self.high}"

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Number(_Plain):
    """A finite number from ``low`` to ``high``."""

    low: float = -1e300
    high: float = 1e300

    @property
    def allowed(self) -> str:
        return "a number" if abs(self.low) == self.high == 1e300 else f"a number from {self.low:g} to {self.high:g}"

    def fits(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return math.isfinite(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Anything(_Plain):
    """Whatever a document can hold."""

    @property
    def allowed(self) -> str:
        return "any value"

    def fits(self, value: Any) -> bool:
        return True


@dataclass(frozen=True)
class Maybe:
    """``null``, or what ``form`` takes."""

    form: Form

    @property
    def allowed(self) -> str:
        return f"{self.form.allowed}, or null"

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if value is not None:
            yield from self.form.faults(value, where)


@dataclass(frozen=True)
class ListOf:
    """A list of ``least`` to ``most`` values of one form."""

    form: Form
    least: int = 0
    most: int = 1 << 26

    @property
    def allowed(self) -> str:
        return f"a list (of each: {self.form.allowed})"

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where or 'it'} is {self.allowed}; got {shown(value)}"
            return
        if not self.least <= len(value) <= self.most:
            yield f"{where or 'it'} has {self.least} to {self.most} values; got {len(value)}"
        for place, item in enumerate(value):
            yield from self.form.faults(item, f"{where}[{place}]")


@dataclass(frozen=True)
class MapOf:
    """A mapping of any names to values of one form."""

    form: Form

    @property
    def allowed(self) -> str:
        return f"a mapping (of each: {self.form.allowed})"

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where or 'it'} is {self.allowed}; got {shown(value)}"
            return
        for name, item in value.items():
            yield from self.form.faults(item, _below(where, name))


@dataclass(frozen=True)
class Record:
    """A mapping with known names: those of ``needed`` must be there, those of ``free`` may be, others must not.

    Args:
        others: names that are not known are let through.
    """

    needed: Mapping[str, Form] = field(default_factory=dict)
    free: Mapping[str, Form] = field(default_factory=dict)
    others: bool = False

    @property
    def allowed(self) -> str:
        return f"a mapping with {', '.join((*self.needed, *self.free)) or 'any names'}"

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where or 'it'} is {self.allowed}; got {shown(value)}"
            return
        known = {**self.free, **self.needed}
        for name in self.needed:
            if name not in value:
                yield f"{_below(where, name)} is missing ({self.needed[name].allowed})"
        for name, item in value.items():
            if name in known:
                yield from known[name].faults(item, _below(where, name))
            elif not self.others:
                yield f"{_below(where, name)} is unknown; allowed are {', '.join(known)}"


@dataclass(frozen=True)
class Either:
    """What one of several forms takes."""

    forms: tuple[Form, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(form.allowed for form in self.forms)

    def faults(self, value: Any, where: str) -> Iterator[str]:
        if all(next(form.faults(value, where), None) is not None for form in self.forms):
            yield f"{where or 'it'} is {self.allowed}; got {shown(value)}"


def shown(value: Any) -> str:
    """A value for a message: short, printable, with the kind of thing it is."""
    if value is None:
        return "null"
    kind = _PLAIN.get(type(value), type(value).__name__)
    if isinstance(value, list | dict):
        return f"{kind} of {len(value)}"
    text = ascii(value) if isinstance(value, str) else _number(value)
    return f"{text[:SHOWN_CHARS]}{'…' if len(text) > SHOWN_CHARS else ''} ({kind})"


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def _below(where: str, name: Any) -> str:
    short = str(name) if isinstance(name, str) and name.isidentifier() and len(name) < SHOWN_CHARS else None
    return (f"{where}.{short}" if where else short) if short else f"{where}[{ascii(name)[:SHOWN_CHARS]}]"
