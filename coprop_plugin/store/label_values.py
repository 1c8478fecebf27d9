"""What the values of saved label maps mean: file value -> class id, and nothing else is let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import CoPropError, PredictionError, unknown_name
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, BINARY
from ..structures.classes import check_class_ids

IGNORED = -1  # the label of ignored pixels of a ground truth, as in Prediction
MAX_VALUE = 65535
OBJECTS = "objects"  # the label set of files whose values are objects, as the tools of DAVIS write them
MAX_OBJECTS = 32  # values up to here may well be objects, when nothing else is said
_UNKNOWN = np.iinfo(np.int16).min

LabelSet = str | Sequence[int] | None


def resolve_classes(classes: LabelSet) -> tuple[tuple[int, ...], dict[int, str]]:
    """Class ids and their names: ``None`` or ``"binary"`` is one class, ``"avsbench"`` its 70, else the ids given.

    Raises:
        CoPropError: an unknown label set, or ids that are not distinct integers from 1 on.
    """
    if classes is None or classes == "binary":
        return BINARY, {}
    if classes == "avsbench":
        return AVSBENCH_CLASSES, {c: AVSBENCH_NAMES[c] for c in AVSBENCH_CLASSES}
    if isinstance(classes, str):
        raise unknown_name("label set", classes, ("binary", "avsbench", OBJECTS))
    try:
        return check_class_ids(tuple(classes)), {}
    except TypeError as error:
        raise CoPropError(f"classes is 'binary', 'avsbench' or a list of class ids, got {classes!r}.") from error


@dataclass(frozen=True)
class LabelValues:
    """The allowed values of label files and the class of each.

    Attributes:
        class_ids: ``(K,)`` classes of the prediction.
        table: value -> class id (0 background, -1 ignored).
        names: class id -> name, where known.
        either_or: two values of which a file may hold one only; a file with both has a meaning of its own
            (0/1 and 0/255 both are binary, but 0/1/255 usually means "255 is ignored").
        own: the user said what the files' own values mean; then the indices of a PNG count, not their colours.
    """

    class_ids: tuple[int, ...]
    table: Mapping[int, int]
    names: Mapping[int, str] = field(default_factory=dict)
    either_or: tuple[int, int] | None = None
    own: bool = False

    def labels(self, values: np.ndarray, where: str) -> np.ndarray:
        """``(H, W) int16`` class ids of ``(H, W)`` integer values.

        Raises:
            PredictionError: values that stand for no class, with their pixel counts; ``where`` names the file.
        """
        if values.dtype == bool:
            values = values.astype(np.uint8)
        low, high = int(values.min()), int(values.max())
        if low < IGNORED or high > MAX_VALUE:
            raise PredictionError(f"{where}: label values lie in [0, {MAX_VALUE}], got {low} to {high}.")
        # The entry of -1 stands last, where numpy looks for it.
        lookup = np.array([self.table.get(v, _UNKNOWN) for v in (*range(high + 1), IGNORED)], np.int16)
        labels = np.take(lookup, values)
        if (labels == _UNKNOWN).any():
            unexpected, counts = np.unique(values[labels == _UNKNOWN], return_counts=True)
            objects = len(self.class_ids) == 1 and unexpected.max() <= MAX_OBJECTS
            raise PredictionError(self._refusal(where, listing(unexpected.tolist(), counts), objects=objects))
        if self.either_or and all((values == v).any() for v in self.either_or):
            one, other = self.either_or
            raise PredictionError(
                f"{where}: holds both {one} and {other}. If both mean the object, say ids={{{one}: 1, {other}: 1}}; "
                f"if {other} marks ignored pixels, say ignore={other}."
            )
        return labels

    def _refusal(self, where: str, found: str, *, objects: bool) -> str:
        hint = f"If each value is an object of its own, say classes='{OBJECTS}'. " if objects else ""
        return (
            f"{where}: holds values that stand for no class: {found}. Expected: {self.expected}. {hint}"
            "Map them with ids={value: class id}, or name the label set with classes=; if 255 marks ignored pixels, "
            "say ignore=255; if the files are 8-bit probabilities, say kind='probability'."
        )

    @property
    def expected(self) -> str:
        """The allowed values in words."""
        entries = [f"{v} ({_meaning(c)})" for v, c in sorted(self.table.items())]
        return ", ".join(entries if len(entries) < 9 else (*entries[:3], "…", entries[-1]))


def label_values(
    *, classes: LabelSet = None, ids: Mapping[int, int] | None = None, ignore: int | None = None
) -> LabelValues:
    """The meaning of file values from what the user said.

    Args:
        classes: the label set; without it the classes named by ``ids``, or binary.
        ids: file value -> class id (0 background, -1 ignored). With it no other value than 0 is taken.
            Without it a value is its class id, and binary files hold 0 and 255, or 0 and 1.
        ignore: the value of pixels that no score counts.

    Raises:
        CoPropError: ids that name no class, are out of range, or contradict ``classes`` or ``ignore``.
    """
    names: Mapping[int, str] = {}
    ids = None if ids is None else _integers(ids)
    if ids is not None and classes is None:
        named = tuple(sorted(set(ids.values()) - {0, IGNORED}))
        if not named:
            raise CoPropError(f"ids maps to no class, but only to background (0) or ignored (-1); got {str(ids)[:80]}.")
        class_ids = check_class_ids(named)
    else:
        class_ids, names = resolve_classes(classes)
    if ids is not None:
        table = {0: 0, **ids}
        foreign = sorted(set(table.values()) - {0, IGNORED, *class_ids})
        if foreign:
            raise CoPropError(f"ids maps to the class ids {foreign}, but the classes are {_short(class_ids)}.")
    else:
        table = {c: c for c in (0, *class_ids)}
    either_or = None
    if ids is None and class_ids == BINARY and ignore != 255:
        table[255], either_or = 1, (1, 255)
    if ignore is not None:
        if int(ignore) in table:
            raise CoPropError(f"the value {ignore} cannot be ignored: it already means {_meaning(table[int(ignore)])}.")
        table[int(ignore)] = IGNORED
    outside = sorted(v for v in table if not IGNORED <= v <= MAX_VALUE)
    if outside:
        raise CoPropError(f"file values lie in [0, {MAX_VALUE}], got {outside}.")
    return LabelValues(class_ids, table, names, either_or, own=ids is not None)


def _integers(ids: Mapping[int, int]) -> dict[int, int]:
    try:
        return {int(value): int(class_id) for value, class_id in ids.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise CoPropError(f"ids maps file values to class ids, as {{1: 11, 2: 41}}; got {str(ids)[:80]}.") from error


def listing(values: Sequence[object], counts: np.ndarray, *, limit: int = 8) -> str:
    """``7 (120 px), 9 (3 px) and 12 more`` for messages, the most frequent first."""
    order = np.argsort(-counts, kind="stable")[:limit]
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(f"{values[i]} ({counts[i]} px)" for i in order) + more


def _meaning(class_id: int) -> str:
    return {0: "background", IGNORED: "ignored"}.get(class_id, f"class {class_id}")


def _short(class_ids: tuple[int, ...]) -> str:
    return str(class_ids) if len(class_ids) < 9 else f"{class_ids[0]}..{class_ids[-1]}"
