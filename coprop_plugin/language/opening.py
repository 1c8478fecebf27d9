"""From what a user names to a model: local, on a server, or recorded; with the cache of answers before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CoPropError
from ..parts import Option, check, options_of
from .cache import AnswerCache, Cached
from .model import AudioLanguageModel
from .replay import Replay


def open_model(
    model: AudioLanguageModel | str | Path | None,
    *,
    server: str | None = None,
    replay: str | Path | Sequence[Mapping[str, Any]] | None = None,
    cache: str | Path = "default",
    **options: Any,
) -> AudioLanguageModel:
    """The model that is named; recorded answers are not cached again.

    Args:
        model: an object (then nothing else is given), a folder or hub id, or with ``server`` the name there.
        server: address of an OpenAI-compatible server.
        replay: file of recorded answers, or the records.
        cache: folder, ``"default"`` or ``"off"``.
        options: of the back-end.

    Raises:
        CoPropError: nothing is named, or too much; an option that the back-end does not have, or of another type.
    """
    if secret := {name for name in options if "key" in name.lower() or name.lower() == "token"}:
        raise CoPropError(f"'{min(secret)}' is no option: a key comes from the environment alone, COPROP_LM_KEY.")
    if replay is not None:
        if model is not None or server is not None or options:
            raise CoPropError("recorded answers (replay) need no model, no server and no options.")
        return Replay(replay)
    opened: AudioLanguageModel
    if isinstance(model, AudioLanguageModel):
        if server is not None or options:
            raise CoPropError("a model that is given as an object takes no server and no options.")
        opened = model
    elif server is not None:
        from .server import ServerModel

        check("rcpg with a server", options, _optional(ServerModel))
        opened = ServerModel(server, model=None if model is None else str(model), **options)
    elif model is not None:
        from .local import LocalModel

        check("rcpg with a model that runs here", options, _optional(LocalModel))
        opened = LocalModel(model, **options)
    else:
        raise CoPropError(
            "rcpg asks an audio language model: name a folder or hub id (--lm-model, or rcpg:model=…), a server "
            "(--lm-server), or recorded answers (rcpg:replay=FILE). Without a model take changepoint."
        )
    if str(cache) == "off":
        return Cached(opened, None)
    return Cached(opened, AnswerCache(None if str(cache) == "default" else cache))


def _optional(back_end: type[AudioLanguageModel]) -> list[Option]:
    """The options of a back-end beside what names the model."""
    return [option for option in options_of(back_end) if not option.required and option.name != "model"]
