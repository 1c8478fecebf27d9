"""The one reader of JSON and YAML: whatever a document holds, it is a plain value of a known form or a named error.

A document is a regular file (a pipe or a device is never read), of a bounded size, in UTF-8. Its values are text,
booleans, finite numbers of at most 64 bits, lists and mappings with names of text, nested at most ``DEPTH`` deep; a name stands once
in its mapping, text holds no half of a surrogate pair. What it must hold beyond that is said by a form of
:mod:`~coprop_plugin.files.schema`. The errors name the file, the place in it, what was given and what is allowed.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Hashable
from typing import Any

from ..errors import CoPropError
from .schema import Form, shown

DEPTH = 40
LIMIT_BYTES = 64 << 20
YAML_BYTES = 1 << 20  # its parser takes a second a megabyte; settings are written by people
MOST_VALUES = {"JSON": 20_000_000, "YAML": 200_000}  # YAML's aliases repeat a part without being longer
_WHOLE = 1 << 64
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_bytes(
    path: str | os.PathLike[str],
    *,
    what: str = "it",
    limit_bytes: int = LIMIT_BYTES,
    error: type[CoPropError] = CoPropError,
    links: bool = True,
) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        what: what is expected there, in words for messages ("control points").
        limit_bytes: a larger file is not read.
        error: the class of what is raised.
        links: a link at the path is followed.

    Raises:
        CoPropError: nothing there, not to be read, no regular file, or too large.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)  # without O_NONBLOCK a pipe would be waited for
    except (OSError, ValueError) as failure:
        reason = (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
        raise error(f"{what} cannot be read from '{os.fspath(path)}': {reason}.") from failure
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise error(f"'{os.fspath(path)}' is {kind}; {what} must be a regular file.")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit_bytes + 1) if found.st_size <= limit_bytes else b""
    if found.st_size > limit_bytes or len(content) > limit_bytes:
        raise error(
            f"'{os.fspath(path)}' has {max(found.st_size, len(content)) / 1e6:.1f} MB; {what} has at most "
            f"{limit_bytes / 1e6:.1f} MB."
        )
    return content


def read_text(
    path: str | os.PathLike[str],
    *,
    what: str = "it",
    limit_bytes: int = LIMIT_BYTES,
    error: type[CoPropError] = CoPropError,
) -> str:
    """The text of a regular file in UTF-8; raises as :func:`read_bytes`, and where it is in another encoding."""
    return _decoded(read_bytes(path, what=what, limit_bytes=limit_bytes, error=error), f"'{os.fspath(path)}'", error)


def read_json(
    path: str | os.PathLike[str],
    *,
    form: Form | None = None,
    what: str = "it",
    limit_bytes: int = LIMIT_BYTES,
    error: type[CoPropError] = CoPropError,
    nan: bool = False,
    links: bool = True,
) -> Any:
    """The value of a JSON file of the form ``form``; see the module for what is refused, :func:`read_bytes` for the rest.

    Args:
        nan: ``NaN`` and ``Infinity`` are taken, as this project writes undefined numbers.
    """
    content = read_bytes(path, what=what, limit_bytes=limit_bytes, error=error, links=links)
    return parse_json(content, where=f"'{os.fspath(path)}'", form=form, error=error, nan=nan)


def parse_json(
    content: str | bytes,
    *,
    where: str,
    form: Form | None = None,
    error: type[CoPropError] = CoPropError,
    nan: bool = False,
) -> Any:
    """The value of a JSON text; ``where`` names it in messages. Raises as :func:`read_json`."""
    text = content if isinstance(content, str) else _decoded(content, where, error)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as failure:
        raise error(f"{where} is not JSON as it is read here: {_reason(failure)}") from failure
    return _checked(value, where, form, error, kind="JSON", nan=nan)


def read_yaml(
    path: str | os.PathLike[str], *, form: Form | None = None, what: str = "it", error: type[CoPropError] = CoPropError
) -> Any:
    """The value of a YAML file: plain values alone (a date or ``1:30`` is text); raises as :func:`read_json`."""
    import yaml

    where = f"'{os.fspath(path)}'"
    text = _decoded(read_bytes(path, what=what, limit_bytes=YAML_BYTES, error=error), where, error)
    try:
        value = yaml.load(text, Loader=_yaml_loader())  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as failure:
        raise error(f"{where} is not YAML as it is read here: {_reason(failure)}") from failure
    return _checked(value, where, form, error, kind="YAML")


def _decoded(content: bytes, where: str, error: type[CoPropError]) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise error(
            f"{where} is not in UTF-8 (byte {failure.start} is 0x{content[failure.start]:02x}); save it as UTF-8 text."
        ) from failure


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {ascii(twice)[:60]} stands there twice, and only one value can hold")
    return found


def _yaml_loader() -> Any:
    """PyYAML's safe loader with plain values alone, and no name twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Dates, sexagesimal numbers and sets are no settings: ``1:30`` stays text."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            self.flatten_mapping(node)
            names: set[Any] = set()
            for key, _ in node.value:
                name = self.construct_object(key, deep=True)
                if not isinstance(name, Hashable) or name in names:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the name {ascii(name)[:60]} stands there twice, or is no name", key.start_mark
                    )
                names.add(name)
            return super().construct_mapping(node, deep=deep)

        def flatten_mapping(self, node: Any) -> None:
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, "'<<' merges mappings, which no settings need; write the lines out", node.start_mark
                )

    plain = ("timestamp", "int", "float")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] not in plain]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    number = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+\Z"), list("-+0123456789"))
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(rf"(?:{number.pattern})\Z"), list("-+.0123456789")
    )
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    return Loader


def _checked(
    value: Any, where: str, form: Form | None, error: type[CoPropError], *, kind: str, nan: bool = False
) -> Any:
    if fault := _fault(value, most=MOST_VALUES[kind], nan=nan):
        raise error(f"{where}: {fault}.")
    if form is not None and (fault := next(form.faults(value, ""), None)):
        raise error(f"{where}: {fault}.")
    return value


def _fault(value: Any, *, most: int, nan: bool) -> str | None:
    """What no document may hold, found without recursion."""
    pending, count = [(value, 0)], 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if depth > DEPTH:
            return f"it is nested more than {DEPTH} deep"
        if count > most:
            return f"it holds more than {most} values"
        kind = type(item)
        if kind is dict:
            for name in item:
                if type(name) is not str and not (type(name) is int and abs(name) < _WHOLE):
                    return f"the name {shown(name)} is no text"
                if type(name) is str and _SURROGATE.search(name):
                    return f"the name {ascii(name)[:60]} holds half of a surrogate pair"
            pending += [(part, depth + 1) for part in item.values()]
        elif kind is list:
            pending += [(part, depth + 1) for part in item]
        elif kind is str:
            if _SURROGATE.search(item):
                return f"the text {ascii(item)[:60]} holds half of a surrogate pair"
        elif kind is int:
            if abs(item) >= _WHOLE:
                return f"{shown(item)} does not fit in 64 bits"
        elif kind is float:
            if not nan and not math.isfinite(item):
                return f"{item} is no finite number"
        elif item is not None and kind is not bool:
            return f"a {kind.__name__} is no plain value"
    return None


def _reason(failure: BaseException) -> str:
    """The failure in one line."""
    if isinstance(failure, RecursionError):
        return f"it is nested more than {DEPTH} deep."
    return f"{' '.join(plain(str(failure)).split())[:300].rstrip('.')}."


def plain(text: str) -> str:
    """A text as a terminal and a log can hold it: what cannot be printed becomes an escape as ``\\x1b``."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
