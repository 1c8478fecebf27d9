"""What the ear hears in each segment, as things that could be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...audio.tags import Tags
from ...audio.yamnet import YamNet
from ...audio.yamnet_files import class_names
from ...structures import Clip, Segment
from ...vision.heard_and_seen import HeardAndSeen, Kind, heard_and_seen

# Fitted on clips of the library's training part (boundary's segments, 251 pairs of a segment and an object): at 0.15 the
# ear names 40 % of what sounds there, 13 % of what it names does not.
HEARD_FROM = 0.15
WIDE_FROM = 0.5  # a kind that other kinds are part of gets a little of any sound of theirs
WIDER_BY = 2.0  # a wider kind counts by itself where it is so many times as probable as any narrower one
MOST_TOLD = 3
NO_THINGS = ("Silence", "Inside, ", "Outside, ")  # AudioSet's classes of places


@dataclass(frozen=True)
class Heard:
    """Of one segment.

    Attributes:
        kinds: those that could be seen, and how probably each is heard, the most probable first.
        people: how probably people are heard.
        unseeable: names of what else is heard and has no picture here.
    """

    kinds: Mapping[Kind, float]
    people: float
    unseeable: tuple[str, ...]


class Ear:
    """YAMNet, and the table of what can be seen.

    Raises:
        CoPropError: YAMNet's package is not installed and no file is named.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        self._network = YamNet.load(weights)
        self._labels, self._table = class_names(_names_beside(weights)), heard_and_seen()

    def hear(self, clip: Clip, segments: Sequence[Segment], *, heard_from: float) -> list[Heard]:
        """One answer for each segment; a silent one hears nothing."""
        tags = self._network.tags(clip.sound, self._labels, duration_s=clip.time_base.duration_s)
        return [self._of(tags, clip, segment, heard_from) for segment in segments]

    def _of(self, tags: Tags, clip: Clip, segment: Segment, heard_from: float) -> Heard:
        if segment.silent:
            return Heard({}, 0.0, ())
        start_s, stop_s = clip.time_base.sound_window_s[[segment.start, segment.stop - 1], [0, 1]]
        middles_s = tags.windows_s.mean(axis=1)
        inside = (middles_s >= start_s) & (middles_s < stop_s)
        inside[np.abs(middles_s - (start_s + stop_s) / 2).argmin()] = True
        chances = dict(zip(tags.labels, tags.probabilities[inside].max(axis=0).tolist(), strict=True))
        return heard_of(chances, self._table, heard_from=heard_from)


def heard_of(chances: Mapping[str, float], table: HeardAndSeen, *, heard_from: float) -> Heard:
    """From how probably each of AudioSet's names is heard: kinds by their most probable name.

    A wider kind (an animal) is left out where a narrower one (a dog) says it all.
    """
    kinds: dict[Kind, float] = {}
    unseeable: list[str] = []
    for label, chance in sorted(chances.items(), key=lambda item: -item[1]):
        if chance < heard_from:
            break
        kind = table.of_sound(label)
        if kind is not None:
            if chance >= WIDE_FROM or not table.is_wide(kind):
                kinds.setdefault(kind, chance)
        elif label not in table.people and not label.startswith(NO_THINGS):
            unseeable.append(label)
    own = {
        kind: chance
        for kind, chance in kinds.items()
        if not any(kind.wider_than(other) and chance < WIDER_BY * kinds[other] for other in kinds)
    }
    people = max((chances.get(label, 0.0) for label in table.people), default=0.0)
    return Heard(own, people if people >= heard_from else 0.0, tuple(unseeable[:MOST_TOLD]))


def _names_beside(weights: str | Path | None) -> Path | None:
    """The list of classes that lies beside a weights file; None is the package's."""
    if weights is None:
        return None
    beside = Path(weights).parent / "yamnet_class_map.csv"
    return beside if beside.is_file() else None
