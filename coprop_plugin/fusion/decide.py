"""Which states are edited: those of which it is sure enough that the base model is wrong, and no frame emptied in doubt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SURE_SILENCE = 0.9  # a frame may be emptied only where silence is at least so probable


@dataclass(frozen=True)
class Verdict:
    """What is done about each object in each frame.

    Attributes:
        sounding: ``(T, C) bool``: who is shown in the end.
        wrong: ``(T, C)``: how probably the base model is wrong there.
        kept: ``(T,) bool``: frames left as they are only because nothing would be left in them.
        mixed: ``(T,) bool``: frames left as they are because classes are exchanged there; ``None``: not looked for.
    """

    sounding: np.ndarray
    wrong: np.ndarray
    kept: np.ndarray
    mixed: np.ndarray | None = None


def decide(present: np.ndarray, probability: np.ndarray, silence: np.ndarray, *, max_harm: float) -> Verdict:
    """Edit where the base model is wrong with at least ``1 - max_harm``; leave everything else.

    Args:
        present: ``(T, C) bool``: what the base model shows.
        probability: ``(T, C)`` that an object sounds.
        silence: ``(T,)`` probability that nothing sounds, NaN where unknown.
        max_harm: the largest probability with which an edit may be wrong.
    """
    wrong = np.where(present, 1 - probability, probability)
    ever = present.any(axis=0)  # what is never shown cannot be brought back
    sounding = present ^ ((wrong >= 1 - max_harm) & ever)
    sure = np.nan_to_num(silence, nan=0.0) >= SURE_SILENCE
    kept = present.any(axis=1) & ~sounding.any(axis=1) & ~sure
    return Verdict(np.where(kept[:, None], present, sounding), wrong, kept)
