"""Where ``answers=`` says that the two answers about a video come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from ...language.answers import AnswerSource, SavedAnswers
from ...language.cache import AnswerCache
from ...language.model import AudioLanguageModel
from .asking import Asked


def open_answers(given: Any, *, model: str | None = None, device: str = "auto", **options: Any) -> AnswerSource | None:
    """The source that a user names.

    Args:
        given: a JSON file or a mapping ``{video: [A1, A2]}``; the address of an OpenAI-compatible server; a folder with a
            multimodal model of transformers; a model; or a source.
        model: its name on the server.
        device: of a local model.
        options: of :class:`Asked`.

    Raises:
        CoPropError: nothing usable is there, or a name or options where they mean nothing.
    """
    if model is not None and not _is_url(given):
        raise CoPropError("answers_model= names a model on a server: answers= is its address (http://…).")
    if isinstance(given, AudioLanguageModel):
        return Asked(given, cache=AnswerCache(), **options)
    if given is None or isinstance(given, AnswerSource):
        return given
    if _is_url(given):
        from ...language.server import ServerModel

        return Asked(ServerModel(str(given), model=model), cache=AnswerCache(), **options)
    if isinstance(given, Mapping) or Path(given).is_file():
        return SavedAnswers(given)
    if (Path(given) / "config.json").is_file():
        from ...language.seeing import SeeingModel

        return Asked(SeeingModel(given, device=device), cache=AnswerCache(), **options)
    raise CoPropError(
        f"answers: nothing usable at '{given}'. Allowed: a JSON file {{video: [A1, A2]}}, the address of an "
        "OpenAI-compatible server (http://…), or a folder with a multimodal model of transformers (config.json)."
    )


def _is_url(given: Any) -> bool:
    return isinstance(given, str) and given.startswith(("http://", "https://"))
