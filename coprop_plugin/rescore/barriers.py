"""The points between two writes of a run: wherever it is killed, running it again must give the same bytes.

Every change of the run folder is followed by :func:`reached` with its name. It does nothing; the tests put a killer
in its place and so stop a run at each of them.
"""

from __future__ import annotations

BARRIERS = (
    "manifest written",
    "masks staged",
    "scores staged",
    "record staged",
    "record withdrawn",
    "masks removed",
    "masks moved",
    "scores moved",
    "record moved",
    "failure noted",
    "failure withdrawn",
    "comparison.json written",
    "comparison.csv written",
    "comparison.tex written",
    "comparison.txt written",
    "page written",
    "index written",
)


def reached(barrier: str) -> None:
    """Note that a write is done."""
