"""What a policy did and left, in words: one line an edit or an abstention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from .decide import Verdict
from .evidence import Evidence
from .states import Heard, Reading

DOUBTED = 0.5  # from here on the base model is more probably wrong than right: if nothing is done, that is said


def explain(
    present: np.ndarray,
    names: Sequence[str],
    heard: Heard,
    reading: Reading,
    verdict: Verdict,
    *,
    max_harm: float,
    evidence: Evidence | None = None,
) -> tuple[str, ...]:
    """Every edit and every abstention: what was heard, what the base model said, how sure it is.

    Args:
        present: ``(T, C) bool``, what the base model shows.
        names: of the objects.
        heard: what the sound says.
        reading: what is believed of it.
        verdict: what was decided.
        max_harm: of the policy.
        evidence: of an ear, where one was asked; what it says of every object is told first.
    """
    asked_about = () if evidence is None else tuple(_evidence_lines(names, evidence))
    lines = []
    for c, name in enumerate(names):
        for (kind, reason), frames in _runs(present[:, c], c, heard, reading, verdict):
            sure = float(verdict.wrong[frames, c].min())
            base = "shows it" if present[frames[0], c] else "does not show it"
            asked = f"; an edit asks for {1 - max_harm:.2f}" if kind == "doubted" else ""
            line = f"{name} {_ACTIONS[kind]}: the base model {base}, but {reason}: {sure:.2f} sure{asked}"
            lines.append((frames[0], f"{span(frames)}: {line}"))
    told = tuple(line for _, line in sorted(lines, key=lambda pair: pair[0])) or (
        _nothing(present, heard, verdict, max_harm=max_harm),
    )
    return (*asked_about, *told)


def _evidence_lines(names: Sequence[str], evidence: Evidence) -> Iterator[str]:
    """What an ear says of every object, then how they move, each where it was asked."""
    if evidence.listened:
        yield from _heard_lines(names, evidence)
    if evidence.moved is not None:
        yield from evidence.moved.lines(names)


def _heard_lines(names: Sequence[str], evidence: Evidence) -> Iterator[str]:
    """The frames in which an ear rather hears an object than not, and how surely."""
    for c, (name, sounds) in enumerate(zip(names, evidence.sounds, strict=True)):
        if not sounds:
            yield f"{name}: {evidence.silence_about(c)}"
            continue
        chances = 1 / (1 + np.exp(-evidence.ratio[:, c]))
        asked = f"{name} (listened for {', '.join(sounds[:3])}{' …' if len(sounds) > 3 else ''})"
        runs = [list(run) for heard, run in groupby(range(len(chances)), key=lambda t: bool(chances[t] > 0.5)) if heard]
        where = "; ".join(f"in {span(run)} ({chances[run].mean():.2f} sure)" for run in runs)
        yield f"{asked}: heard {where or f'nowhere (at most {chances.max():.2f} sure)'}"


_ACTIONS = {
    "erased": "is erased",
    "brought": "is brought back",
    "doubted": "is left as it is",
    "mixed": "is left as it is, as classes seem to be exchanged in that frame",
    "kept": "is kept, as else nothing would be left where the sound is not surely silent",
}


def _runs(
    present: np.ndarray, c: int, heard: Heard, reading: Reading, verdict: Verdict
) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Frames next to each other of which the same is to be told."""

    def told(t: int) -> tuple[str, str]:
        edited = bool(verdict.sounding[t, c] != present[t])
        if edited:
            return "erased" if present[t] else "brought", _reason(t, heard, reading)
        if verdict.wrong[t, c] <= DOUBTED:
            return "", ""
        if verdict.mixed is not None and verdict.mixed[t]:
            return "mixed", _reason(t, heard, reading)
        return "kept" if verdict.kept[t] and present[t] else "doubted", _reason(t, heard, reading)

    for key, run in groupby(range(len(present)), key=told):
        if key[0]:
            yield key, list(run)


def _reason(t: int, heard: Heard, reading: Reading) -> str:
    if not np.isnan(heard.silence[t]) and heard.silence[t] > 0.5:
        return f"silence is heard ({heard.silence[t]:.2f})"
    if (reading.onset_shift or reading.offset_shift) and reading.shift_probability > 0.5:
        return f"its masks {shift_words(reading)} throughout the clip ({reading.shift_probability:.2f})"
    start = int(np.flatnonzero(heard.flags[: t + 1])[-1])
    if not start:
        return "no change is heard since the beginning, and its other frames say otherwise"
    return (
        f"no change is heard since frame {start} ({heard.change[start]:.2f} there), and its other frames say otherwise"
    )


def shift_words(reading: Reading) -> str:
    """By how much the base model is late or early."""
    return f"start {_late(reading.onset_shift)} and stop {_late(reading.offset_shift)}"


def _late(frames: int) -> str:
    if not frames:
        return "on time"
    return f"{abs(frames)} frame{'s'[: abs(frames) > 1]} {'late' if frames > 0 else 'early'}"


def _nothing(present: np.ndarray, heard: Heard, verdict: Verdict, *, max_harm: float) -> str:
    """What was looked at, and what to try, where nothing is to be told."""
    if not present.any():
        return "nothing to change: the base model shows nothing in any frame."
    most = float(verdict.wrong.max(initial=0.0))
    silent = int((np.nan_to_num(heard.silence) > 0.5).sum())
    return (
        f"nothing to change: of {present.shape[1]} object{'s'[: present.shape[1] > 1]} in {len(present)} frames, with "
        f"{int(heard.flags[1:].sum())} changes and {silent} silent frames heard, no state of the base model is wrong with "
        f"more than {most:.2f} (an edit asks for {1 - max_harm:.2f}). If masks do drift, look at the control points in "
        "the report and correct them (--control-points file:path=…), or allow more with consensus:max_harm=0.3."
    )


def span(frames: Sequence[int]) -> str:
    """``frame 3``, or ``frames 3 to 5``."""
    return f"frame {frames[0]}" if len(frames) == 1 else f"frames {frames[0]} to {frames[-1]}"
