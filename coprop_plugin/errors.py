"""The errors of this project: each says what was given, what was allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CoPropError(ValueError):
    """Base of every error that a user's input can cause."""


class MediaError(CoPropError):
    """A video, sound or image that cannot be read, or must not be."""


class PredictionError(CoPropError):
    """Saved or computed predictions that do not have the announced form."""


class CheckpointError(CoPropError):
    """A weights file that is unsafe, damaged, or of another model."""


class MissingExtra(ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'coprop-plugin[{extra}]'"
        )


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> CoPropError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return CoPropError(f"unknown {kind} '{given}'.{hint} Allowed: {', '.join(names)}.")
