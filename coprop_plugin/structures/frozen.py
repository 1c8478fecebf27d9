"""What makes data frozen in fact: arrays that nobody can write, mappings that nobody can change."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..errors import CoPropError
from .stack import Frames

Key = TypeVar("Key")
Value = TypeVar("Value")


def read_only(array: np.ndarray) -> np.ndarray:
    """The same values as an array that cannot be written, also through the array that was given.

    A copy is taken only where somebody could still write: set ``array.flags.writeable = False`` (or see
    :func:`locked`) and the array is used as it is. Memory-mapped files are never copied, however large: they are
    given a read-only view, and whoever keeps them open for writing can still change the file.
    """
    if _somebody_can_write(array):
        array = locked(array.copy())
    view = array.view()
    view.flags.writeable = False  # a view of a locked array cannot be unlocked by setflags
    return view


def locked(array: np.ndarray) -> np.ndarray:
    """An array that was just made and that nobody else holds, made read-only in place, without a copy."""
    array.flags.writeable = False
    return array


def _somebody_can_write(array: np.ndarray) -> bool:
    chain = [array]
    while isinstance(chain[-1].base, np.ndarray):
        chain.append(chain[-1].base)
    owner = chain[-1].base
    if isinstance(owner, mmap.mmap):
        return False
    if any(link.flags.writeable for link in chain):
        return True
    if owner is None:
        return False
    try:  # memory of something else, as bytes or a tensor
        return not memoryview(owner).readonly
    except TypeError:
        return True


def read_only_frames(frames: Any, *, what: str) -> Frames:
    """Frames whose arrays cannot be written; those that are read when asked for stay as they are.

    Args:
        frames: an array, a tensor on the CPU, or anything with ``shape``, ``len`` and one frame an index.
        what: their form, for the message.

    Raises:
        CoPropError: none of these.
    """
    if isinstance(frames, np.ndarray):
        return read_only(frames)
    if hasattr(frames, "__dlpack__"):  # an array of another library, which shares its memory with its owner
        return read_only(np.asarray(frames))
    if not isinstance(frames, Frames):
        raise CoPropError(f"{what} are an array, or frames that are read one at a time; got {type(frames).__name__}.")
    return frames


class Frozen:
    """Base of frozen data: their arrays stay read-only through pickle and copies, which numpy forgets."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update({k: locked(v) if isinstance(v, np.ndarray) else v for k, v in state.items()})


class FrozenMapping(Mapping[Key, Value]):
    """A mapping that nobody can change; comparable, hashable where its values are, and kept by pickle."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[Key, Value] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: Key) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)
