"""Where a model's files lie: a folder, or a snapshot in the local cache of the Hugging Face hub. Nothing is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ...errors import CoPropError

MAX_CONFIG_BYTES = 1 << 20


def model_folder(model: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a model; a hub id is looked up in the local cache and never downloaded.

    Raises:
        CoPropError: the folder, or the model in the cache, is not there; the message names where was looked.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CoPropError(f"'{folder.resolve()}' holds no config.json; name the folder that a model was saved in.")
        return folder.resolve()
    name = str(model)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise CoPropError(f"no model at '{folder.absolute()}': there is no such folder.")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, FileNotFoundError) as error:
        raise CoPropError(
            f"no model '{name}': there is no folder '{folder.absolute()}', and the local cache "
            f"'{constants.HF_HUB_CACHE}' does not hold it. Models are never downloaded behind your back; fetch it with: "
            f"hf download {name}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json.

    Raises:
        CoPropError: too large, or no JSON object with a ``model_type``.
    """
    config = _read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise CoPropError(f"'{folder / 'config.json'}' names no model_type.")
    return config


def read_chunk_s(folder: Path) -> float:
    """The longest sound, in seconds, that the model's feature extractor takes.

    Raises:
        CoPropError: no file in the folder tells.
    """
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            settings = _read_json(folder / name)
            settings = settings.get("feature_extractor", settings)
            if isinstance(settings, dict) and isinstance(settings.get("chunk_length"), int | float):
                return float(settings["chunk_length"])
    raise CoPropError(f"'{folder}' holds no preprocessor_config.json with a chunk_length: no model that hears.")


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CoPropError(f"'{path}' has more than {MAX_CONFIG_BYTES >> 20} MB; this is no model's config.")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CoPropError(f"'{path}' is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CoPropError(f"'{path}' is no JSON object.")
    return settings


def fingerprint(folder: Path) -> str:
    """16 characters that change when a file of the model does: its small files' contents, its large ones' size and time."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            facts = path.stat()
            small = facts.st_size <= MAX_CONFIG_BYTES
            content = hashlib.sha256(path.read_bytes()).hexdigest() if small else str(facts.st_mtime_ns)
            digest.update(f"{path.name}:{facts.st_size}:{content}\n".encode())
    return digest.hexdigest()[:16]


def weight_bytes(folder: Path) -> int:
    """The size of the model's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
