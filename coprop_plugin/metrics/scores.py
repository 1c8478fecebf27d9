"""The one type of a score: numbers under a named protocol, with what they are about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import CoPropError, unknown_name
from ..structures.frozen import FrozenMapping

Masks = Literal["scores", "hard masks", "partly hard masks"]
SOFT, HARD, PARTLY = "scores", "hard masks", "partly hard masks"
SAME_SUBJECT = ("videos", "frames", "frames_without_truth", "classes", "scores")


@dataclass(frozen=True)
class Number:
    """One number, ready for a table.

    Attributes:
        protocol, metric: its rule and name.
        value: in ``unit`` (percent for shares); ``None`` where it is not defined.
        unit: ``%``, ``frames``, ``s``, or nothing for counts.
        masks: where the number is another thing for hard masks than for scores (``M_F`` sweeps thresholds): what it
            was computed of, else nothing. Only numbers of the same ``masks`` compare.
    """

    protocol: str
    metric: str
    value: float | None
    unit: str
    masks: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is: numbers with one key compare."""
        return self.protocol, self.metric, self.masks

    @property
    def part(self) -> bool:
        """Whether the number is a part of another (as ``STQ/AQ``)."""
        return "/" in self.metric

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def label(metric: str, masks: str | None = "") -> str:
    """A metric's name where only a name can be printed: it says so if hard masks make it another number."""
    return f"{metric} ({masks})" if masks and masks != SOFT else metric


@dataclass(frozen=True, repr=False)
class Scores(Mapping[str, Any]):
    """The numbers of a prediction (or of many videos): ``metric -> fraction``, a count, or ``None`` (not defined).

    Under several protocols it maps each protocol's name to its own ``Scores``; :attr:`parts` lists them either way.

    Attributes:
        numbers: what the mapping holds.
        protocol: the name, or the names.
        about: what was scored, and how: ``rule``, ``videos``, ``frames``, ``size``, ``scores`` … (of several
            protocols: what they share).
        swept: the numbers that sweep thresholds over the scores, so that they are other numbers for hard masks.
    """

    numbers: Mapping[str, Any]
    protocol: str | tuple[str, ...]
    about: Mapping[str, Any]
    swept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", FrozenMapping(self.numbers))
        object.__setattr__(self, "about", FrozenMapping(self.about))
        several = not isinstance(self.protocol, str)
        for name, value in self.numbers.items():
            if isinstance(value, Scores) != several or not isinstance(value, Scores | float | int | None):
                raise CoPropError(f"'{name}' is {value!r}; a score is a fraction, a count or None.")
        if several and tuple(self.numbers) != self.protocol:
            raise CoPropError(f"scores of the protocols {self.protocol} hold {tuple(self.numbers)}.")

    def __getitem__(self, name: str) -> Any:
        if name not in self.numbers:
            raise KeyError(f"no '{name}' under {self.protocol}; there are {', '.join(self.numbers)}")
        return self.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        if not isinstance(self.protocol, str):
            return f"Scores({', '.join(repr(part) for part in self.parts)})"
        shown = (f"{n.metric}={_shown(self.numbers[n.metric])}" for n in self.rows() if not n.part)
        return f"Scores({self.protocol}, {self.masks}: {', '.join(shown)})"

    @property
    def parts(self) -> tuple[Scores, ...]:
        """One ``Scores`` a protocol."""
        return (self,) if isinstance(self.protocol, str) else tuple(self.numbers.values())

    @property
    def masks(self) -> Masks:
        """Of what the numbers are: ``scores``, ``hard masks``, or ``partly hard masks`` over several videos."""
        return self.about.get("scores", SOFT)

    @property
    def hard(self) -> bool:
        return self.masks != SOFT

    def rows(self) -> list[Number]:
        """Every number, ready for a table: shares in percent."""
        if not isinstance(self.protocol, str):
            return [row for part in self.parts for row in part.rows()]
        rows = []
        for metric, value in self.numbers.items():
            unit = "frames" if metric.endswith("_frames") else "s" if metric.endswith("_s") else "%"
            if isinstance(value, int):
                unit = ""
            shown = 100 * value if unit == "%" and value is not None else value
            rows.append(Number(self.protocol, metric, shown, unit, self.masks if metric in self.swept else ""))
        return rows

    def flat(self) -> dict[str, float | int | None]:
        """``protocol/metric -> fraction``, for places that know names alone (a logger): :func:`label` of each."""
        return {
            f"{part.protocol}/{label(metric, part.masks if metric in part.swept else '')}": value
            for part in self.parts
            for metric, value in part.items()
        }

    def merge(self, *others: Scores) -> Scores:
        """These and others' protocols together, of the same videos.

        Raises:
            CoPropError: of other videos or other masks, or two different scores under one protocol.
        """
        together: dict[str, Scores] = {}
        for part in (part for scores in (self, *others) for part in scores.parts):
            name = str(part.protocol)
            if together.setdefault(name, part) != part:
                raise CoPropError(f"two different scores under '{name}' do not merge; merge what was scored (Scorer).")
        return together_of(together)

    def subset(self, protocols: str | Iterable[str] | None = None, *, parts: bool = True) -> Scores:
        """Some of the protocols (all by default), with or without the numbers that are parts of others.

        Raises:
            CoPropError: a protocol that is not there.
        """
        known = {str(part.protocol): part for part in self.parts}
        names = known if protocols is None else [protocols] if isinstance(protocols, str) else list(protocols)
        for name in names:
            if name not in known:
                raise unknown_name("protocol of these scores", name, list(known))
        chosen = {name: known[name] if parts else known[name]._whole() for name in names}
        return together_of(chosen) if len(chosen) != 1 else next(iter(chosen.values()))

    def _whole(self) -> Scores:
        kept = {row.metric: self.numbers[row.metric] for row in self.rows() if not row.part}
        return Scores(kept, self.protocol, self.about, tuple(name for name in self.swept if name in kept))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the numbers with ``protocol`` and ``about``; several protocols by their names."""
        if not isinstance(self.protocol, str):
            return {"protocol": list(self.protocol), **{name: part.to_dict() for name, part in self.numbers.items()}}
        return {"protocol": self.protocol, **self.numbers, "about": {**self.about, "swept": list(self.swept)}}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scores:
        """What :meth:`to_dict` gave; also the form before, whose names ended in ``(hard masks)``.

        Raises:
            CoPropError: not such data.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError(f"a mapping is expected, not a {type(data).__name__}")
            if "about" not in data:
                return together_of({name: cls.from_dict(data[name]) for name in data if name != "protocol"})
            about = dict(data["about"])
            old = f" ({about['scores']})"
            swept = about.pop("swept", None)
            if swept is None:
                swept = [name.removesuffix(old) for name in data if name.endswith(old) or "M_F" in name]
            numbers = {n.removesuffix(old): v for n, v in data.items() if n not in ("protocol", "about")}
            return cls(numbers, str(data["protocol"]), about, tuple(map(str, swept)))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise CoPropError(f"these are no scores ({type(error).__name__}: {error}).") from error

    @classmethod
    def from_json(cls, text: str) -> Scores:
        """What :meth:`to_json` wrote.

        Raises:
            CoPropError: not such a text.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CoPropError(f"these are no scores: not JSON ({error}).") from error
        return cls.from_dict(data)


def together_of(parts: Mapping[str, Scores]) -> Scores:
    """Scores under several protocols, of the same videos.

    Raises:
        CoPropError: they are of other videos or other masks, or there are none.
    """
    abouts = [{k: part.about.get(k) for k in SAME_SUBJECT} for part in parts.values()]
    if not abouts:
        raise CoPropError("there are no scores to put together.")
    if any(about != abouts[0] for about in abouts):
        raise CoPropError(f"scores of different videos or masks do not go together: {abouts[0]} and others.")
    shared = {k: v for k, v in abouts[0].items() if v is not None}
    return Scores(dict(parts), tuple(parts), shared)


def _shown(value: float | int | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"
