"""Control points, the segments between them, and their JSON form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import CoPropError
from ..files import parse_json
from ..files.schema import Either, ListOf, Maybe, Number, Record, Switch, Text, Whole
from . import notebook
from .frozen import Frozen, read_only
from .time_base import TimeBase

MOST_FLAGS = 1 << 24  # a week of 25 frames a second
_FORM = Record(
    needed={"flags": ListOf(Either((Whole(0, 1), Switch())), least=1, most=MOST_FLAGS)},
    free={
        "confidence": Maybe(ListOf(Number(0, 1))),
        "silence": Maybe(ListOf(Number(0, 1))),
        "silent": Maybe(ListOf(Maybe(Switch()))),
        "categories": Maybe(ListOf(Maybe(ListOf(Text())))),
        "origin": Maybe(
            Record(
                free={
                    "generator": Maybe(Text()),
                    "repairs": Maybe(ListOf(Text())),
                    "fallback": Maybe(Text()),
                    "flags": Maybe(Text()),
                },
                others=True,
            )
        ),
    },
)


@dataclass(frozen=True)
class Segment:
    """Frames ``[start, stop)`` from one control point to the next.

    Attributes:
        silent: nothing sounds in it (``None``: not known).
        categories: names of what sounds in it (``None``: not known).
        anchor: the frame whose mask is propagated (``None``: not chosen yet, or none is needed).
    """

    start: int
    stop: int
    silent: bool | None = None
    categories: tuple[str, ...] | None = None
    anchor: int | None = None

    def __post_init__(self) -> None:
        if self.categories is not None:
            object.__setattr__(self, "categories", tuple(self.categories))
        if not 0 <= self.start < self.stop:
            raise CoPropError(
                f"a segment is a range [start, stop) with 0 <= start < stop, got [{self.start}, {self.stop})."
            )
        if self.anchor is not None and not self.start <= self.anchor < self.stop:
            raise CoPropError(f"the anchor {self.anchor} lies outside its segment [{self.start}, {self.stop}).")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def keyframe(self) -> int:
        """The segment's first frame, whatever the policy (scores are split by it)."""
        return self.start


SOUND_AND_SILENCE = "(binary masks: sound and silence only)"  # ends the name of what saw no more


@dataclass(frozen=True)
class Origin:
    """Where control points came from: the generator, what was repaired in its answer, what stood in for it."""

    generator: str
    repairs: tuple[str, ...] = ()
    fallback: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a result must know: another generator stood in, an answer was mended."""
        stood_in = f"control points: {self.fallback} stood in for {self.generator}"
        return ((stood_in,) if self.fallback else ()) + tuple(f"{self.generator}: {text}" for text in self.repairs)


@dataclass(frozen=True, eq=False, repr=False)
class ControlPoints(Frozen):
    """The frames where the set of sounding objects changes.

    Read-only once made. Two are equal if all their values are, whoever made them.

    Attributes:
        flags: ``(T,) bool``; ``flags[0]`` is always true.
        confidence: ``(T,) float64`` in [0, 1], the generator's trust that each frame is (not) what its flag says.
        silent: per segment, whether nothing sounds in it; ``None`` where unknown.
        categories: per segment, the names of what sounds; ``None`` where unknown.
        origin: generator, repairs, fallback.
        silence: ``(T,) float64`` in [0, 1], how probably nothing sounds in each frame; goes before ``silent`` where a
            policy weighs evidence (who corrects ``silent`` by hand deletes it).
    """

    flags: np.ndarray
    confidence: np.ndarray | None = None
    silent: tuple[bool | None, ...] | None = None
    categories: tuple[tuple[str, ...] | None, ...] | None = None
    origin: Origin = field(default=Origin("unknown"))
    silence: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.flags)
        if given.ndim != 1 or len(given) == 0:
            raise CoPropError(f"control points are (T,) flags with T >= 1, got the shape {given.shape}.")
        if given.dtype != bool and not np.isin(given, (0, 1)).all():
            raise CoPropError(f"control-point flags are 0 or 1, got the values {sorted(set(given.tolist()))[:5]}.")
        flags = given.astype(bool)
        if not flags[0]:
            raise CoPropError("the first frame always is a control point; flags[0] must be 1.")
        object.__setattr__(self, "flags", read_only(flags))
        for name in ("confidence", "silence"):
            if getattr(self, name) is None:
                continue
            shares = np.asarray(getattr(self, name), float)
            if shares.shape != flags.shape or not ((shares >= 0) & (shares <= 1)).all():
                raise CoPropError(f"{name} is ({len(flags)},) in [0, 1], got the shape {shares.shape}.")
            object.__setattr__(self, name, read_only(shares))
        for name in ("silent", "categories"):
            values = getattr(self, name)
            if values is not None and len(values) != flags.sum():
                raise CoPropError(f"'{name}' needs one value per segment ({flags.sum()}), got {len(values)}.")

        if self.silent is not None:
            object.__setattr__(self, "silent", tuple(self.silent))
        if self.categories is not None:
            names = tuple(None if c is None else tuple(c) for c in self.categories)
            object.__setattr__(self, "categories", names)

    def __len__(self) -> int:
        return len(self.flags)

    def _values(self) -> tuple[Any, ...]:
        """All values, comparable and hashable."""
        confidence, silence = (None if a is None else a.tobytes() for a in (self.confidence, self.silence))
        return self.flags.tobytes(), confidence, silence, self.silent, self.categories, self.origin

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, ControlPoints) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.frames[:12])) + (", …" if len(self.frames) > 12 else "")
        return f"ControlPoints({len(self.frames)} in {len(self)} frames: {shown}; {self.origin.generator})"

    def _repr_html_(self) -> str:
        return notebook.paragraph(repr(self)) + self.timeline_html()

    def timeline_html(self, time_base: TimeBase | None = None) -> str:
        """A small picture for a notebook (SVG): the segments in frames or, with a time base, in seconds."""
        edges = np.arange(len(self) + 1.0)
        if time_base is not None:
            edges = np.append(time_base.sound_window_s[:, 0], time_base.duration_s)
        bars = []
        for segment in self.segments():
            start, stop = float(edges[segment.start]), float(edges[segment.stop])
            told = f"frames {segment.start} to {segment.stop - 1}"
            told += "" if time_base is None else f", {start:.2f} to {stop:.2f} s"
            known = "silent" if segment.silent else ", ".join(segment.categories or ())
            bars.append(notebook.Bar(start, stop, bool(segment.silent), f"{told}: {known}" if known else told))
        return notebook.timeline(bars, unit="frames" if time_base is None else "s", label=repr(self))

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame indices that are control points."""
        return tuple(int(t) for t in np.flatnonzero(self.flags))

    def segments(self, *, max_segment_frames: int | None = None) -> tuple[Segment, ...]:
        """The segments that these points cut, in order; longer ones are cut again at ``max_segment_frames``."""
        if max_segment_frames is not None and max_segment_frames < 1:
            raise CoPropError(f"max_segment_frames must be at least 1, got {max_segment_frames}.")
        starts = self.frames
        segments: list[Segment] = []
        for i, (start, stop) in enumerate(zip(starts, (*starts[1:], len(self)), strict=True)):
            whole = Segment(
                start, stop, self.silent[i] if self.silent else None, self.categories[i] if self.categories else None
            )
            step = max_segment_frames or len(whole)
            segments += [replace(whole, start=s, stop=min(s + step, stop)) for s in range(start, stop, step)]
        return tuple(segments)

    def to_json(self) -> str:
        """All of it as readable JSON that a person can edit."""
        data: dict[str, Any] = {
            "flags": self.flags.astype(int).tolist(),
            "confidence": None if self.confidence is None else self.confidence.tolist(),
            "silent": None if self.silent is None else list(self.silent),
            "silence": None if self.silence is None else self.silence.tolist(),
            "categories": None
            if self.categories is None
            else [None if c is None else list(c) for c in self.categories],
            "origin": {
                "generator": self.origin.generator,
                "repairs": list(self.origin.repairs),
                "fallback": self.origin.fallback,
                "flags": _bits(self.flags),  # as they were found: so it shows when a person edits those above
            },
        }
        return "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in data.items()) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> ControlPoints:
        """Read what :meth:`to_json` wrote, or a person edited; only ``flags`` must be there.

        Flags may be edited alone: what was known of the segments is carried over where the new ones lie within such as
        agree, else it is not known; ``origin`` says "edited" and what was changed.

        Raises:
            CoPropError: not JSON, no ``flags``, unknown keys, or values out of place.
        """
        data = parse_json(text, where="control points")
        data = {"flags": data} if isinstance(data, list) else data
        if fault := next(_FORM.faults(data, ""), None):
            raise CoPropError(f"control points: {fault}.")
        silent, categories, origin = data.get("silent"), data.get("categories"), data.get("origin") or {}
        flags = np.array(data["flags"])
        confidence, silence = (
            None if data.get(name) is None else np.array(data[name], float) for name in ("confidence", "silence")
        )
        repairs, fallback = tuple(origin.get("repairs") or ()), origin.get("fallback")
        generator, found = origin.get("generator") or "edited", origin.get("flags")
        segments: list[tuple[Any, ...] | None] = [
            None if silent is None else tuple(silent),
            None if categories is None else tuple(None if c is None else tuple(c) for c in categories),
        ]
        if found is not None and found != _bits(flags):
            before = _flags_of(found, len(flags))
            moved = np.flatnonzero(before != flags.astype(bool))
            repairs = (*repairs, f"flags of {generator} edited by hand at the frames {', '.join(map(str, moved))}")
            generator, segments = "edited", [_carried(values, before, flags) for values in segments]
            silence = None  # what a person says of the segments goes before it
            if confidence is not None and confidence.shape == flags.shape:
                confidence[moved] = 1
        elif origin and any(values is not None and len(values) != flags.sum() for values in segments):
            # Written before files kept the flags that were found, or by hand: nothing tells which segments are meant.
            repairs = (*repairs, f"flags of {generator} edited by hand; silence and categories are left out")
            generator, segments, silence = "edited", [None, None], None
        return cls(
            flags=flags,
            confidence=confidence,
            silent=segments[0],
            categories=segments[1],
            origin=Origin(generator, repairs, fallback),
            silence=silence,
        )


def _bits(flags: np.ndarray) -> str:
    return "".join("1" if flag else "0" for flag in flags)


def _flags_of(bits: str, length: int) -> np.ndarray:
    if len(bits) != length or set(bits) - {"0", "1"} or not bits.startswith("1"):
        raise CoPropError(
            f"control points: origin.flags is a text of {length} digits 0 or 1; remove it if it is wrong."
        )
    return np.array([bit == "1" for bit in bits])


def _carried(values: tuple[Any, ...] | None, before: np.ndarray, after: np.ndarray) -> tuple[Any, ...] | None:
    """What was known of the segments of ``before``, for those of ``after``: where all that it overlaps agree."""
    if values is None or len(values) != before.sum():
        return None
    owner, segment = np.cumsum(before) - 1, np.cumsum(after.astype(bool)) - 1
    carried = []
    for i in range(int(segment[-1]) + 1):
        known = {values[k] for k in owner[segment == i]}
        carried.append(known.pop() if len(known) == 1 else None)
    return tuple(carried)


def class_sets(label_maps: Sequence[np.ndarray], *, min_area_px: int = 1, ignore: int = -1) -> list[frozenset[int]]:
    """``S_t``: the foreground class ids with at least ``min_area_px`` pixels in each label map (paper A.1)."""
    sets = []
    for labels in label_maps:
        ids, counts = np.unique(labels, return_counts=True)
        sets.append(
            frozenset(int(c) for c, n in zip(ids, counts, strict=True) if c not in (0, ignore) and n >= min_area_px)
        )
    return sets


def change_flags(sets: Sequence[frozenset[int]], *, silence_counts: bool = True) -> np.ndarray:
    """``(T,) bool``: true at 0 and wherever the set differs from the one before (paper A.1).

    With ``silence_counts=False`` each non-empty set is compared with the last non-empty one, and empty sets
    change nothing.
    """
    flags = np.zeros(len(sets), bool)
    flags[:1] = True
    last = sets[0] if sets else frozenset()
    for t in range(1, len(sets)):
        if silence_counts:
            flags[t] = sets[t] != sets[t - 1]
        elif sets[t]:
            flags[t] = bool(last) and sets[t] != last
            last = sets[t]
    return flags
