"""The rows of the paper's tables: what is done to whose masks, and what was not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TRUTH = "truth"
POLICIES = ("replace", "consensus")  # the paper's, and the default
POINTS = ("none", "every_k:k=2", "cosine-logmel", "changepoint", "boundary", TRUTH)
BASELINE_POINTS, PLACE_OF_RCPG = "cosine-logmel", "boundary"
NAMED_POINTS = (TRUTH, "tagger:model=yamnet")  # that name what sounds, as text guidance needs it


@dataclass(frozen=True)
class Cell:
    """What is done to the masks of a base model (no policy: nothing)."""

    base: str
    points: str = ""
    propagator: str = ""
    policy: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: a cell, or why it was not run."""

    table: str
    name: str
    cell: Cell | None = None
    reason: str = ""


@dataclass(frozen=True)
class Inserts:
    """Propagators of the paper's stage 2, by the names of their rows.

    Attributes:
        without: the network that the inserts were trained on, as it was.
        audio: with an audio insert; the first is compared with text.
        text: with words in the sound's place.
    """

    without: str
    audio: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


def lines(
    bases: Sequence[str],
    plain: str,
    *,
    whole: str | None,
    kpf: str | None,
    tuned: str | None,
    inserts: Inserts | None = None,
) -> list[Line]:
    """The tables' rows.

    Args:
        bases: names of the base models of table 1.
        plain: the propagator of all tables but those about inserts.
        whole: of the bases, that which sees whole clips.
        kpf: that which was trained on all frames alone.
        tuned: that which was fine-tuned on keyframes.
        inserts: what stage 2 is about.
    """
    rows = []
    for base in bases:
        rows.append(Line("1", base, Cell(base)))
        for points in (PLACE_OF_RCPG, TRUTH):
            for policy in POLICIES:
                rows.append(Line("1", f"{base} + Co-Prop ({points}, {policy})", Cell(base, points, plain, policy)))
    keyed = tuned or kpf or whole
    no_tuned = "no keyframe processor fine-tuned on keyframes was given"
    for policy in POLICIES:
        rows += [
            _or_not(
                "2(a)", f"none ({policy})", whole, BASELINE_POINTS, plain, policy, "no whole-clip base model was given"
            ),
            _or_not(
                "2(a)", f"KPF before fine-tuning ({policy})", kpf, BASELINE_POINTS, plain, policy, "no kpf was given"
            ),
            _or_not("2(a)", f"KPF ({policy})", tuned, BASELINE_POINTS, plain, policy, no_tuned),
            _or_not(
                "2(a)", f"KPF, RCPG's place: {PLACE_OF_RCPG} ({policy})", tuned, PLACE_OF_RCPG, plain, policy, no_tuned
            ),
            _or_not(
                "2(a)", f"KPF, RCPG's place: true points replayed ({policy})", tuned, TRUTH, plain, policy, no_tuned
            ),
        ]
    rows += _aip(keyed, inserts)
    for points in POINTS:
        for policy in POLICIES:
            rows.append(_or_not("2(b)", f"{points} ({policy})", keyed, points, plain, policy, "no base model"))
    rows.append(Line("2(b)", "RCPG, 1-step, 3-step", reason="no audio language model was asked"))
    rows += [*_text_or_audio(keyed, inserts), *_inserts(keyed, inserts)]
    for points in (PLACE_OF_RCPG, TRUTH):
        rows.append(_or_not("6", f"key and normal frames ({points})", keyed, points, plain, "replace", "no base model"))
    return rows


def _aip(base: str | None, inserts: Inserts | None) -> Iterator[Line]:
    """The last row of table 2(a), and the same without an insert."""
    if base is None or inserts is None or not inserts.audio:
        yield Line("2(a)", "KPF, RCPG's place, AIP", reason="no propagator with an audio insert was given")
        return
    for name in (inserts.without, *inserts.audio):
        for policy in POLICIES:
            cell = Cell(base, PLACE_OF_RCPG, name, policy)
            yield Line("2(a)", f"KPF, {PLACE_OF_RCPG}, in AIP's place: {name} ({policy})", cell)


def _text_or_audio(base: str | None, inserts: Inserts | None) -> Iterator[Line]:
    """Table 4. Consensus asks propagators without names, so it has no row."""
    if base is None or inserts is None or not (inserts.audio and inserts.text):
        yield Line("4", "text-guided, audio-guided", reason="no propagator with text and one with audio were given")
        return
    for points in NAMED_POINTS:
        for name in (inserts.without, inserts.audio[0], *inserts.text):
            yield Line("4", f"{name} ({points}, replace)", Cell(base, points, name, "replace"))


def _inserts(base: str | None, inserts: Inserts | None) -> Iterator[Line]:
    """Table 5."""
    if base is None or inserts is None or not inserts.audio:
        yield Line("5", "plain, 1-layer, 4-layer insert", reason="no propagator with an audio insert was given")
        return
    for points in (PLACE_OF_RCPG, TRUTH):
        for policy in POLICIES:
            for name in (inserts.without, *inserts.audio):
                yield Line("5", f"{name} ({points}, {policy})", Cell(base, points, name, policy))


def _or_not(table: str, name: str, base: str | None, points: str, propagator: str, policy: str, reason: str) -> Line:
    if base is None:
        return Line(table, name, reason=reason)
    return Line(table, name, Cell(base, points, propagator, policy))
