"""What was heard and what was seen of it, in a few lines for whoever reads the masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...structures import Segment
from ...vision.heard_and_seen import Kind
from .hearing import Heard


def told(segments: Sequence[Segment], heard: Sequence[Heard], seen: Sequence[Sequence[Kind]]) -> tuple[str, ...]:
    """One line for each thing: masked where, heard without being seen, or never looked for.

    Args:
        segments, heard, seen: one for each segment; ``seen`` are the kinds that were masked.
    """
    masked: dict[str, list[Segment]] = {}
    unseen: dict[str, list[Segment]] = {}
    people: list[Segment] = []
    without: dict[str, list[Segment]] = {}
    for segment, said, found in zip(segments, heard, seen, strict=True):
        for kind in said.kinds:
            if kind in found:
                masked.setdefault(kind.name, []).append(segment)
            elif not any(kind.wider_than(other) for other in found):
                unseen.setdefault(kind.name, []).append(segment)
        if said.people:
            people.append(segment)
        for label in said.unseeable:
            without.setdefault(label, []).append(segment)
    lines = [f"heard and seen: {name}, {_frames(where)}" for name, where in masked.items()]
    if unseen:
        named = "; ".join(f"{name}, {_frames(where)}" for name, where in unseen.items())
        lines.append(f"heard, perhaps, and not seen (off-screen, or not recognised): {named}")
    if people:
        lines.append(f"people are heard, and not looked for: {_frames(people)}")
    if without:
        lines.append(f"heard, and nothing to look for: {', '.join(without)}")
    if not lines:
        lines.append("nothing is heard that could be looked for: no masks")
    return tuple(lines)


def _frames(segments: Iterable[Segment]) -> str:
    """``frames 0-6, 9``."""
    spans: list[list[int]] = []
    for segment in segments:
        if spans and spans[-1][1] == segment.start:
            spans[-1][1] = segment.stop
        else:
            spans.append([segment.start, segment.stop])
    return "frames " + ", ".join(str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in spans)
