"""Read a weights file without running what it may hold, and fill a module with it, name by name."""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, CoPropError
from .inert import INERT_GLOBALS

CONTAINERS = ("state_dict", "model", "model_state_dict")  # where training scripts keep the weights, in this order
WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name
NUM_SHOWN = 5
MOST_NESTED = 8
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
MOST_SHARED = (
    8  # tied weights have several names; a file whose entries sum up to more than its size times this is a trap
)


def read_state_dict(path: str | Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """The weights in a file, by name: a raw state dict, or one in a training script's container.

    Optimizer states and other baggage are left in the file. ``module.`` before every name is removed.

    Args:
        path: a ``.safetensors`` file, or what ``torch.save`` wrote.
        trust_pickle: also unpickle a file that holds more than plain data, which **runs code from it**. Only for
            a file that you made yourself; a warning is given when it comes to that.

    Raises:
        CheckpointError: no such file, not a weights file, a file that would run code, no weights in it, or weights
            that are NaN or infinite.
        CoPropError: ``trust_pickle`` is no boolean (a word from the command line must not count as yes).
    """
    if not isinstance(trust_pickle, bool):
        raise CoPropError(f"trust_pickle is True or False; got {trust_pickle!r}.")
    path = Path(path)
    kind = _kind(path)
    content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path, kind, trust_pickle)
    state = {name: value.detach() for name, value in _find_weights(path, content).items()}
    _check_forms(path, state)
    while wrapper := next((w for w in WRAPPERS if all(name.startswith(w) for name in state)), None):
        state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return {name: _copied(path, name, value) for name, value in state.items()}


def read_saved(path: str | Path) -> Any:
    """All that ``torch.save`` wrote, where it is plain data and tensors: a training's state.

    Raises:
        CheckpointError: no such file, damaged, or one that would run code.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "safetensors":
        raise CheckpointError(f"'{path}' is a safetensors file, not what torch.save writes.")
    return _read_torch(path, kind, trust_pickle=False, mapped=False)


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], *, what: str = "the checkpoint", drop: Iterable[str] = ()
) -> None:
    """Fill every parameter and buffer of a module from ``state``, which must hold these names and no others.

    Args:
        what: how messages call the file.
        drop: names, or beginnings of names, that the file may hold and the module does not use.

    Raises:
        CheckpointError: names that are missing, unknown or of another shape; it says which, and which model the
            weights look like.
    """
    ours, drop = module.state_dict(), tuple(drop)
    given = {name: value for name, value in state.items() if name in ours or not name.startswith(drop)}
    mismatched = [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(ours[name].shape)}"
        for name in ours
        if name in given and given[name].shape != ours[name].shape
    ]
    problems = [
        _listed("missing", [name for name in ours if name not in given]),
        _listed("unknown", [name for name in given if name not in ours]),
        _listed("of another shape", mismatched),
    ]
    if any(problems):
        # By its name: the catalogue knows all parts, and these load their weights here.
        found = importlib.import_module("coprop_plugin.weights.catalogue").looks_like(state)
        hint = f" These look like the weights of {found}." if found else " No model known here has such names."
        raise CheckpointError(
            f"{what} does not fit {type(module).__name__}: {'; '.join(filter(None, problems))}.{hint} "
            "Give the checkpoint of this model, or name the model that the file belongs to."
        )
    module.load_state_dict(given)


def _kind(path: Path) -> str:
    """What the first bytes say that a file is: ``zip``, ``pickle`` or ``safetensors``."""
    if not path.is_file():
        raise CheckpointError(f"no weights file at '{path}'.")
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80":
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"'{path}' is a Git LFS pointer, not the weights; fetch them with 'git lfs pull'.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError(f"'{path}' is a web page, not weights; download the file itself.")
    raise CheckpointError(f"'{path}' is no weights file: it must be written by torch.save or be safetensors.")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is a damaged safetensors file: {error}.") from error
    except MemoryError as error:
        raise CheckpointError(f"'{path}' has more bytes than this process may map. Is it a whole file?") from error


def _read_torch(path: Path, kind: str, trust_pickle: bool, *, mapped: bool = True) -> Any:
    """What ``torch.save`` wrote; ``mapped``: a zip is, so that an optimizer's state is never in memory."""
    if kind == "zip":
        _check_archive(path)
    try:
        with _only_inert_globals():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and kind == "zip")
    except pickle.UnpicklingError as error:
        refusal = _first_sentence(error)
    except Exception as error:  # a damaged file fails anywhere in the reader, with any error
        raise CheckpointError(f"'{path}' is a damaged or foreign weights file: {_first_sentence(error)}.") from error
    if not trust_pickle:
        raise CheckpointError(
            f"'{path}' holds more than plain weights and could run code when read; refused ({refusal}). Ask for the "
            "state dict alone, or as safetensors. If you made the file yourself, read it with trust_pickle=True."
        )
    warnings.warn(f"trust_pickle: running the code in '{path}' ({refusal}).", stacklevel=3)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # code from a file ends with any error: a missing package, its own
        raise CheckpointError(f"'{path}', read with trust_pickle=True, ended in {error!r}.") from error


@contextmanager
def _only_inert_globals() -> Iterator[None]:
    """Our stand-ins and nothing else: what others allowed for the whole process (the MMEngine side does) would mix in."""
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(list(INERT_GLOBALS)):
            yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def _check_archive(path: Path) -> None:
    """``torch.save`` stores without compression: a compressed member could unpack to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise CheckpointError(f"'{path}' is a compressed zip; torch.save writes uncompressed ones. Unpack it.")
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:  # names in no encoding
        raise CheckpointError(f"'{path}' is cut off or damaged: {error}.") from error


def _find_weights(path: Path, content: Any) -> Mapping[str, Tensor]:
    """The mapping of names to tensors in what a file held."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}, not weights by name.")
    inner = content
    for _ in range(MOST_NESTED):  # a container may hold itself
        key = next((key for key in CONTAINERS if isinstance(inner.get(key), Mapping)), None)
        if key is None:
            break
        inner = inner[key]
    else:
        raise CheckpointError(f"'{path}' nests its weights more than {MOST_NESTED} deep, or in themselves.")
    others = [str(name) for name, value in inner.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not inner:
        raise CheckpointError(
            f"'{path}' holds no state dict: expected names with tensors, or these under {' or '.join(CONTAINERS)}; "
            f"{_listed('not a tensor', others) or 'it is empty'}."
        )
    return inner


def _check_forms(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse what is no dense tensor, and tensors that claim more numbers than the file holds."""
    total = 0
    for name, value in state.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise CheckpointError(f"'{path}': {name} is not a plain dense tensor ({value.layout}, {value.device}).")
        if str(value.dtype).removeprefix("torch.") not in DTYPES:
            raise CheckpointError(f"'{path}': {name} is of type {value.dtype}; read are {', '.join(DTYPES)}.")
        size = value.numel() * value.element_size()
        if size > value.untyped_storage().nbytes():
            raise CheckpointError(f"'{path}': {name} claims the shape {tuple(value.shape)}, more than the file holds.")
        total += size
    if total > MOST_SHARED * path.stat().st_size:
        raise CheckpointError(
            f"'{path}': its {len(state)} entries claim {total / 1e6:.0f} MB, but the file has "
            f"{path.stat().st_size / 1e6:.0f} MB: they name the same numbers again and again."
        )


def _copied(path: Path, name: str, value: Tensor) -> Tensor:
    """One entry in memory of its own, if its numbers are finite."""
    check_finite({name: value}, what=f"'{path}'")
    return value.clone(memory_format=torch.contiguous_format)


def check_finite(state: Mapping[str, Tensor], *, what: str) -> None:
    """Refuse broken weights.

    Raises:
        CheckpointError: an entry holds NaN or infinite values.
    """
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(f"{what}: {name} holds NaN or infinite values; these weights are broken.")


def _listed(problem: str, names: list[str]) -> str:
    """``"3 missing (a, b, …)"``, or nothing."""
    if not names:
        return ""
    return f"{len(names)} {problem} ({', '.join(names[:NUM_SHOWN])}{', …' if len(names) > NUM_SHOWN else ''})"


def _first_sentence(error: Exception) -> str:
    """The part of torch's long message that says what was wrong."""
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it calls '{named[1]}'"
    return text.strip().partition("\n")[0].partition(". ")[0][:160].rstrip(".") or type(error).__name__
