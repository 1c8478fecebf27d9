"""A scene: which objects every frame shows, and which of them sound; the exact truth follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..errors import CoPropError, unknown_name
from ..structures import BINARY, ControlPoints, Frames, FrameStack, Origin, Prediction, change_flags
from ..structures.classes import check_class_ids

Labelling = Literal["semantic", "binary"]
MAX_OBJECT_ID = 65535


@dataclass(frozen=True)
class Scene:
    """All visible objects of a clip, sounding or not.

    Attributes:
        instances: ``(T, H, W)`` integer object ids, 0 where there is none; read one frame at a time.
        object_class: object id -> class id, for every object that occurs.
        sounding: ``(T, O) bool``, the columns in ascending order of object ids.
        labelling: what the truth shows: ``semantic`` class ids, or ``binary`` (every sounding object is class 1).
            Control points follow the classes of ``object_class`` either way.
        names: class id -> name, where known.
        source: for messages.
    """

    instances: Frames
    object_class: Mapping[int, int]
    sounding: np.ndarray
    labelling: Labelling = "semantic"
    names: Mapping[int, str] = field(default_factory=dict, compare=False)
    source: str = "scene"
    _shown: dict[int, frozenset[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.labelling not in get_args(Labelling):
            raise unknown_name("labelling", self.labelling, get_args(Labelling))
        objects = dict(sorted((int(o), int(c)) for o, c in self.object_class.items()))
        if not objects or min(objects) < 1:
            raise CoPropError(f"{self.source}: object ids are integers from 1 on, got {list(objects)}.")
        check_class_ids(tuple(sorted(set(objects.values()))))
        object.__setattr__(self, "object_class", objects)
        sounding, shape = np.asarray(self.sounding, bool), tuple(self.instances.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise CoPropError(f"{self.source}: instances are (T, H, W) object ids, got the shape {shape}.")
        if sounding.shape != (shape[0], len(objects)):
            raise CoPropError(
                f"{self.source}: sounding is (T, O) = {(shape[0], len(objects))}, a column an object, got {sounding.shape}."
            )
        object.__setattr__(self, "sounding", sounding)

    @property
    def num_frames(self) -> int:
        return self.instances.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.instances.shape[1], self.instances.shape[2]

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending; the order of the columns of ``sounding``."""
        return tuple(self.object_class)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The classes of the truth: those of all visible objects, or ``(1,)`` where it is binary."""
        return BINARY if self.labelling == "binary" else tuple(sorted(set(self.object_class.values())))

    def label_of(self, object_id: int) -> int:
        """The class id that the truth gives to an object when it sounds."""
        return 1 if self.labelling == "binary" else self.object_class[object_id]

    def instance_map(self, t: int) -> np.ndarray:
        """``(H, W)`` object ids of frame t, checked.

        Raises:
            CoPropError: no object ids, or an object without a class.
        """
        instances = np.asarray(self.instances[t])
        if instances.dtype.kind not in "iu" or instances.min() < 0 or instances.max() > MAX_OBJECT_ID:
            raise CoPropError(
                f"{self.source}: frame {t} holds no object ids (integers from 0 to {MAX_OBJECT_ID}): "
                f"{instances.dtype} from {instances.min()} to {instances.max()}."
            )
        shown = frozenset(np.flatnonzero(np.bincount(instances.ravel())).tolist())
        unknown = shown - {0, *self.object_ids}
        if unknown:
            raise CoPropError(
                f"{self.source}: frame {t} shows the objects {sorted(unknown)}, which have no class; "
                f"known are {list(self.object_ids)}."
            )
        self._shown[t] = shown  # so that control points need not render what the masks have shown
        return instances

    def label_map(self, t: int) -> np.ndarray:
        """``(H, W) int16`` class ids of the objects that sound in frame t; 0 elsewhere."""
        lookup = np.zeros(max(self.object_ids) + 1, np.int16)
        for object_id, sounds in zip(self.object_ids, self.sounding[t], strict=True):
            lookup[object_id] = self.label_of(object_id) if sounds else 0
        return lookup[self.instance_map(t)]

    def truth(self) -> Prediction:
        """The exact masks of the sounding objects, a hard prediction read frame by frame."""
        labels = FrameStack(self.label_map, num_frames=self.num_frames, frame_shape=self.size, dtype=np.int16)
        names = self.names if self.labelling == "semantic" else {}
        return Prediction.from_labels(labels, class_ids=self.class_ids, names=names, source=f"{self.source}: truth")

    @cached_property
    def class_sets(self) -> tuple[frozenset[int], ...]:
        """``S_t`` (paper A.1): the classes of the objects that sound in frame t and show at least one pixel."""
        sets = []
        for t in range(self.num_frames):
            if t not in self._shown:
                self.instance_map(t)
            shown = self._shown[t]
            on = (o for o, sounds in zip(self.object_ids, self.sounding[t], strict=True) if sounds and o in shown)
            sets.append(frozenset(self.object_class[o] for o in on))
        return tuple(sets)

    def control_points(self, *, silence_counts: bool = True) -> ControlPoints:
        """The exact control points: where the set of sounding classes changes, with what sounds in each segment."""
        flags = change_flags(self.class_sets, silence_counts=silence_counts)
        starts = [self.class_sets[t] for t in np.flatnonzero(flags)]
        return ControlPoints(
            flags=flags,
            silent=tuple(not classes for classes in starts) if silence_counts else None,
            categories=tuple(tuple(self.names.get(c, str(c)) for c in sorted(classes)) for classes in starts),
            origin=Origin("truth"),
        )
