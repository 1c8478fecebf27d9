"""Models of transformers that lie in a folder, or in the local cache of the Hugging Face hub: found, looked at, loaded.

Nothing is downloaded, no code of a folder is run, and weights are read from safetensors alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, CoPropError
from ..files import read_json
from ..files.schema import Record

if TYPE_CHECKING:
    import torch

MAX_CONFIG_BYTES = 1 << 20
# What values that make no model raise where it is built, somewhere inside the library.
_NONSENSE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
_SAFE = {"local_files_only": True, "trust_remote_code": False}


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
    settings: dict[str, Any] = read_json(
        path, form=Record(others=True), what="a model's config", limit_bytes=MAX_CONFIG_BYTES
    )
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


def load_model(
    architecture: str,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: Any = None,
    unread: Sequence[str] = (),
) -> Any:
    """A model with all its weights, ready for inference.

    Args:
        architecture: the class of transformers, such as ``AutoModel`` or ``ClapModel``.
        folder: where :func:`model_folder` found it.
        device: where it runs.
        dtype: of the weights; ``None`` for the file's own.
        unread: shell patterns of weights that may be missing, because no output that is read depends on them.

    Raises:
        CheckpointError: files are missing or damaged, or weights lack or have another shape.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError  # a value of another type in config.json
    from safetensors import SafetensorError

    options = _SAFE | ({} if dtype is None else {"dtype": dtype})
    try:
        model, loading = getattr(transformers, architecture).from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, RuntimeError, SafetensorError, StrictDataclassError, *_NONSENSE) as error:
        raise CheckpointError(f"the model in '{folder}' cannot be loaded as {architecture}: {error}") from error
    missing = [name for name in loading["missing_keys"] if not any(fnmatchcase(name, each) for each in unread)]
    if lacking := sorted(missing) or sorted(map(str, loading.get("mismatched_keys", ()))):
        raise CheckpointError(f"'{folder}' lacks weights of {architecture}: {lacking[:3]}.")
    return model.to(device).eval()


def load_processor(kind: str, folder: str | Path, **options: Any) -> Any:
    """A tokenizer, feature extractor or processor from a folder.

    Args:
        kind: the class of transformers, such as ``AutoTokenizer``.
        folder: where it was saved.
        options: the class' own.

    Raises:
        CheckpointError: its files are missing or damaged.
    """
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(folder, **_SAFE, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{folder}' holds no {kind} that can be read: {error}") from error
