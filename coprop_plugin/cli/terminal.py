"""What is printed: names come from files of anyone, so they are made harmless here, once, where a terminal gets them.

A text is never markup, and what cannot be printed (a terminal's control codes, bytes of a name that are no UTF-8)
becomes an escape as ``\\x1b``. A stream that knows fewer characters, or that nobody reads on, is no error.
"""

from __future__ import annotations

import os
import sys
from typing import IO, Any

from ..files.documents import plain


def open_streams() -> None:
    """Let stdout and stderr take any character: those that their encoding lacks are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def close_stdout() -> None:
    """After its reader has gone (``| head``): what is still to be written goes nowhere, also when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(text: str, *, file: IO[str] | None = None, end: str = "\n") -> None:
    """Print a line that may hold names."""
    print(plain(text), file=file or sys.stdout, end=end, flush=True)


def console(*, stderr: bool = False, width: int | None = None) -> Any:
    """A rich console on which a text is what it says: no markup, no emoji codes, no control codes."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(plain(text), **options)

    return Plain(stderr=stderr, width=width, markup=False, emoji=False)
