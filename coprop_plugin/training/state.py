"""A training's folder: its state to go on from, its weights to be used, its settings and its log.

    training.pth         module, optimizer, random state, sampler and step: read again only to go on
    weights.safetensors  what users of the trained thing read
    run.json             the resolved settings
    log.jsonl            a line a step

Every file but the log is replaced in one step: a reader, or a training that goes on, finds the old or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import CheckpointError, CoPropError
from ..files import Folder, atomic_write, read_json
from ..files.schema import Anything, MapOf, Record, Text
from ..store.manifest import plain, versions
from ..weights.checkpoint import read_saved

FORMAT = "coprop-training/1"
STATE, WEIGHTS, RUN, LOG = "training.pth", "weights.safetensors", "run.json", "log.jsonl"
_RUN = Record(needed={"format": Text((FORMAT,)), "settings": MapOf(Anything())}, others=True)


class TrainingFolder:
    """Reads and writes the files of one training.

    Args:
        folder: made if it is not there.
        settings: the resolved ones; a folder belongs to one of them.

    Raises:
        CheckpointError: the folder holds a training with other settings.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder, self._settings = Path(folder), plain(settings)
        found = self._read_run()
        if found is not None and (self.folder / STATE).is_file():
            self._compare(found)
        else:  # nothing was saved yet: settings that turned out wrong may be mended
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_run()

    @property
    def weights(self) -> Path:
        """The file that users of what was trained read."""
        return self.folder / WEIGHTS

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or ``None`` where the training has not saved any.

        Raises:
            CheckpointError: damaged, or not written by this project.
        """
        path = self.folder / STATE
        if not path.is_file():
            return None
        try:
            state = read_saved(path)
        except CheckpointError as error:
            raise CheckpointError(f"'{path}' is damaged or no training state: {error}") from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise CheckpointError(f"'{path}' is not of the format '{FORMAT}'; it was written by something else.")
        return state

    def save(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Replace state and weights. The state comes last: what it says to be saved is saved."""
        content = save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
        with atomic_write(self.weights) as file:
            file.write(content)
        with atomic_write(self.folder / STATE) as file:
            torch.save({"format": FORMAT, **state}, file)

    def start_log(self, step: int) -> None:
        """Keep the log's lines of the steps before ``step``: a killed training may have logged more than it saved."""
        path = self.folder / LOG
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        lines = text.splitlines(keepends=True)[:step]
        with atomic_write(path, "w") as file:
            file.writelines(lines)

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        Folder(self.folder).append(LOG, json.dumps(line) + "\n")

    def _write_run(self) -> None:
        with atomic_write(self.folder / RUN, "w") as file:
            content = {"format": FORMAT, "settings": self._settings, "versions": dict(versions())}
            file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _read_run(self) -> dict[str, Any] | None:
        path = self.folder / RUN
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = read_json(path, form=_RUN, what="a training's settings", nan=True)
        except CoPropError as error:
            raise CheckpointError(f"'{path}' describes no training; name a new folder. ({error})") from error
        return cast("dict[str, Any]", found["settings"])

    def _compare(self, old: Mapping[str, Any]) -> None:
        new = self._settings
        differing = [
            f"{name} was {json.dumps(old.get(name))}, is now {json.dumps(new.get(name))}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        if differing:
            raise CheckpointError(
                f"'{self.folder}' holds a training with other settings: {'; '.join(differing)}. "
                "Repeat the command that began it to go on, or name a new folder."
            )
