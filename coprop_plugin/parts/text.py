"""Option strings: ``name:option=value,option=value``.

One rule: **a value ends at a comma that one of the part's options and an equals sign follow; a value that begins with
a quote or a bracket ends with it.** So ``file:path=paths/lr=0.1,bs=2/x.json`` needs no quotes (``file`` has no option
``bs``), and ``saved_masks:path='a,kind=b',kind=hard`` does. Quotes and brackets are written as in Python; what is no
Python literal is text.
"""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Collection, Iterator
from typing import Any

from ..errors import CoPropError

RULE = (
    "A part is NAME or NAME:option=value,option=value. A value ends at a comma that one of the part's options and '=' "
    "follow, or with the quotes or brackets that it begins with: file:path='a,b=c.json'. `coprop parts` lists names "
    "and options."
)
MAX_LITERAL = 10_000  # characters; longer values are text
_OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=")
_NEXT = re.compile(r",\s*([A-Za-z_]\w*)\s*=")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def split_options(text: str, allowed: Collection[str] | None = None) -> dict[str, str]:
    """What stands after ``name:``, option -> value as written.

    Args:
        text: ``"option=value,option=value"``.
        allowed: the options that there are; without it whatever looks like one is taken for one.

    Raises:
        CoPropError: an option without a value, given twice, or that nearly has the name of one; a quote without its end.
    """
    options: dict[str, str] = {}
    place = 0
    while place < len(text):
        begins = _OPTION.match(text, place)
        if not begins:
            item = text[place:].partition(",")[0]
            raise CoPropError(
                f"in '{_short(text)}' the option '{_short(item)}' has no value; write {_short(item)}=VALUE."
            )
        name = begins[1]
        if name in options:
            raise CoPropError(f"in '{_short(text)}' the option '{name}' is given twice.")
        stop = _end(text, begins.end(), allowed)
        options[name] = text[begins.end() : stop]
        place = stop + 1
    return options


def literal(value: str) -> Any:
    """The Python literal that a value is, or else the value itself.

    >>> literal("0.7"), literal("paths/x.json"), literal("'0.7'"), literal("{[]: 1}")
    (0.7, 'paths/x.json', '0.7', '{[]: 1}')
    """
    if len(value) > MAX_LITERAL:
        return value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and of numbers that run into words
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def _end(text: str, start: int, allowed: Collection[str] | None) -> int:
    """Where the value ends that begins at ``start``."""
    begin = start + len(text[start:]) - len(text[start:].lstrip())
    if text[begin : begin + 1] in ("'", '"'):
        return _after(text, _end_of_quote(text, begin))
    if text[begin : begin + 1] in _CLOSING and (stop := _end_of_bracket(text, begin)):
        return _after(text, stop)
    for comma in _NEXT.finditer(text, start):
        if allowed is None or comma[1] in allowed:
            return comma.start()
        if near := difflib.get_close_matches(comma[1], allowed, n=1, cutoff=0.7):
            raise CoPropError(
                f"in '{_short(text)}': there is no option '{comma[1]}'. Did you mean '{near[0]}'? If it belongs to the "
                "value before it, put that value in quotes."
            )
    return len(text)


def _end_of_quote(text: str, begin: int) -> int:
    place = begin + 1
    while place < len(text) and text[place] != text[begin]:
        place += 2 if text[place] == "\\" else 1
    if place >= len(text):
        raise CoPropError(f"in '{_short(text)}' the quote {text[begin:][:20]} has no end.")
    return place + 1


def _end_of_bracket(text: str, begin: int) -> int | None:
    """After the bracket that closes the first one; ``None`` where none does (then it is text like any other)."""
    open_brackets: list[str] = []
    place = begin
    while place < len(text):
        if text[place] in _CLOSING:
            open_brackets.append(_CLOSING[text[place]])
        elif open_brackets and text[place] == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return place + 1
        elif text[place] in ("'", '"'):
            place = _end_of_quote(text, place) - 1
        place += 1
    return None


def _after(text: str, stop: int) -> int:
    """Where a value in quotes or brackets is over: nothing but a comma may follow."""
    rest = text[stop:].lstrip()
    if rest and not rest.startswith(","):
        raise CoPropError(f"in '{_short(text)}' a comma must follow {text[:stop][-20:]}, not '{_short(rest)}'.")
    return len(text) - len(rest)


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def names_in(text: str) -> list[str]:
    """A list of option strings, cut at its commas: an option belongs to the name before it.

    >>> names_in("a,b:k=1,l=[2,3],c")
    ['a', 'b:k=1,l=[2,3]', 'c']
    """
    items: list[str] = []
    for item in filter(None, _cut(text)):
        if items and "=" in item and ":" not in item.partition("=")[0]:
            items[-1] += f",{item}"
        else:
            items.append(item)
    return items


def _cut(text: str) -> Iterator[str]:
    """The text between commas that stand in no quotes or brackets."""
    start = place = 0
    while place < len(text):
        if text[place] in ("'", '"'):
            place = _end_of_quote(text, place) - 1
        elif text[place] in _CLOSING:
            place = (_end_of_bracket(text, place) or place + 1) - 1
        elif text[place] == ",":
            yield text[start:place]
            start = place + 1
        place += 1
    yield text[start:]
