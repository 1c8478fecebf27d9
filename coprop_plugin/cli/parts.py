"""``coprop parts``: what there is to choose from, and the options of each."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import Any

from .. import parts
from ..errors import unknown_name

HELP = "List adapters, control-point generators, propagators and fusion policies, or show one with its options."
EXAMPLES = """\
  coprop parts
  coprop parts propagator
  coprop parts control_points changepoint
  coprop parts fusion consensus --json"""
FLAGS: dict[parts.PartKind, str] = {
    "adapter": "--adapter",
    "control_points": "--control-points",
    "propagator": "--propagator",
    "fusion": "--fusion",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(parts.KINDS)} (default: all)")
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this part, with its options")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print the table of the README")
    parser.epilog = f"{parser.epilog}\n\n{parts.RULE}"


def run(args: argparse.Namespace) -> int:
    kinds = [_kind(args.kind)] if args.kind else list(parts.KINDS)
    if args.name:
        told = as_data(parts.describe(kinds[0], args.name), name=args.name)
        print(json.dumps(told, indent=2) if args.json else as_text(told))
    elif args.json:
        json.dump({kind: [_listed(one) for one in parts.all_parts(kind)] for kind in kinds}, sys.stdout, indent=2)
        print()
    elif args.markdown:
        print(markdown(kinds))
    else:
        print("\n\n".join(_table(kind) for kind in kinds))
    return 0


def as_data(part: parts.Part, *, name: str) -> dict[str, Any]:
    """One part under one of its names, with options; imports it."""
    options = parts.options(part.kind, name)
    given = f"{name}:{part.example}" if part.example else name
    return {
        **_listed(part),
        "name": name,
        "help": part.presets.get(name, part.help),
        "stands_for": {"name": part.name, **part.preset(name)} if name in part.presets else None,
        "variants": [variant.name for variant in getattr(parts.maker(part.kind, name), "variants", ())],
        "options": [
            {
                "name": option.name,
                "type": option.text,
                "required": option.required,
                "default": None if option.required else _plain(option.default),
                "help": option.help,
            }
            for option in options
        ],
        "example": f"{FLAGS[part.kind]} {given}",
    }


def as_text(told: dict[str, Any]) -> str:
    """What :func:`as_data` tells, to be read."""
    lines = [f"{told['kind']} {told['name']}: {told['help']}"]
    if told["stands_for"]:
        lines.append("  stands for  " + ", ".join(f"{key}={value}" for key, value in told["stands_for"].items()))
    for key in ("presets", "variants"):
        if told[key]:
            lines.append(f"  {key:<10}  {', '.join(told[key])}")
    for key in ("needs", "extra", "weights", "package", "class"):
        if told[key]:
            lines.append(f"  {key:<10}  {told[key]}")
    lines.append(f"  example     {told['example']}")
    lines.append("  options" if told["options"] else "  options     none")
    for option in told["options"]:
        default = "required" if option["required"] else f"default {option['default']!r}"
        lines.append(f"    {option['name']} ({option['type']}; {default})")
        if option["help"]:
            lines.append(f"        {option['help']}")
    return "\n".join(lines)


def markdown(kinds: list[parts.PartKind]) -> str:
    """The names of our parts as a table of Markdown, as the README holds it; no row is longer than a terminal."""
    lines = ["| part | names |", "|---|---|"]
    for kind in kinds:
        names = [f"`{name}`" for part in parts.all_parts(kind) if not part.package for name in part.names]
        rows = textwrap.wrap(", ".join(names), 95)
        lines += [f"| {kind.replace('_', ' ') if row is rows[0] else ''} | {row} |" for row in rows]
    return "\n".join(lines)


def _kind(text: str) -> parts.PartKind:
    """A kind as users write it: ``control-points`` is one too."""
    for kind in parts.KINDS:
        if text.replace("-", "_").rstrip("s") in (kind, kind.rstrip("s")):
            return kind
    raise unknown_name("kind of part", text, parts.KINDS)


def _listed(part: parts.Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "help": part.help,
        "presets": dict(part.presets),
        "needs": part.needs,
        "extra": part.extra,
        "weights": part.weights,
        "package": part.package,
        "class": part.target,
    }


def _table(kind: parts.PartKind) -> str:
    rows = [row for part in parts.all_parts(kind) for row in ((part.name, part.help), *part.presets.items())]
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{kind} ({FLAGS[kind]})", *(f"  {name:<{width}}  {text}" for name, text in rows)])


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
