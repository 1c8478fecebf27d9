"""Our own parts, read from the source of their rooms: a list of parts imports none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .declare import KINDS, Part, PartKind, first_line

PACKAGE = Path(__file__).resolve().parent.parent
ROOMS = ("adapters", "keyframe", "control_points", "propagators", "fusion")
MARK = "part("  # files without it are not parsed


@cache
def own_parts() -> dict[PartKind, dict[str, Part]]:
    """PartKind -> name -> part, without the presets' names, in the order of the names.

    Raises:
        SyntaxError: a declaration holds something else than literals, or a name is declared twice.
    """
    found: dict[PartKind, dict[str, Part]] = {kind: {} for kind in KINDS}
    taken: dict[tuple[PartKind, str], str] = {}
    for declared in sorted(_declared(), key=lambda part: part.name):
        for name in declared.names:
            other = taken.setdefault((declared.kind, name), declared.target)
            if other != declared.target:
                raise SyntaxError(f"the {declared.kind} '{name}' is declared twice: {other} and {declared.target}")
        found[declared.kind][declared.name] = declared
    return found


def _declared() -> Iterator[Part]:
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if MARK not in text:
                continue
            module = ".".join([PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts])
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    yield from _of_node(node, module)


def _of_node(node: ast.ClassDef | ast.FunctionDef, module: str) -> Iterator[Part]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "part":
            kind, name = (_literal(value, module) for value in decorator.args)
            said = {str(keyword.arg): _literal(keyword.value, module) for keyword in decorator.keywords}
            yield Part(kind, name, f"{module}:{node.name}", first_line(ast.get_docstring(node)), **said)


def _literal(node: ast.expr, module: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise SyntaxError(f"{module}: @part(…) takes literals alone, got {ast.unparse(node)}") from error
