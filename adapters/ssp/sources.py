"""Where ``answers=`` says that the two answers about a video come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from .prompts import AnswerSource, SavedAnswers


def open_answers(given: Any) -> AnswerSource | None:
    """The source that a user names.

    Args:
        given: a JSON file or a mapping ``{video: [A1, A2]}``, or a source.

    Raises:
        CoPropError: nothing usable is there.
    """
    if given is None or isinstance(given, AnswerSource):
        return given
    if isinstance(given, Mapping) or Path(given).is_file():
        return SavedAnswers(given)
    raise CoPropError(f"answers: nothing usable at '{given}'. Allowed: a JSON file {{video: [A1, A2]}}.")
