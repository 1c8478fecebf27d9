"""SVG and HTML elements as escaped text; the few shapes that a chart needs."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Child = Markup | str


def tag(name: str, *children: Child, **attributes: object) -> Markup:
    """``<name …>children</name>`` with every value escaped; ``class_`` is ``class``, ``_`` becomes ``-``, None is left out."""
    written = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if value is not None
    ]
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(written), inner)


def group(children: Iterable[Child], **attributes: object) -> Markup:
    """A ``<g>`` around many elements."""
    return tag("g", *children, **attributes)


def percent(share: float) -> str:
    """A position along the width, so that charts stretch while text and marks keep their size."""
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def at(share: float, *children: Child, y: float = 0) -> Markup:
    """Children drawn in pixels around a point that lies at a share of the width."""
    return tag("svg", *children, x=percent(share), y=y, overflow="visible")


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
