"""How far control points are believed: as facts, by what was measured of who gave them, or as probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .. import parts
from ..structures import ControlPoints
from ..structures.control_points import SOUND_AND_SILENCE

CERTAIN = 1e-4  # nearer to 0 or 1 no probability is taken
TRUSTED = 0.97  # what is held of control points and silence that come as facts, and of any probability at most
CALLED_SILENT = 0.85  # so often segments that a generator calls silent are silent (real sounds)
BASE_RATE = 0.31  # of changes at the seconds of the mixtures below


@dataclass(frozen=True)
class Trust:
    """What stands for the control points of a generator.

    Attributes:
        said, unsaid: probability of a change where it says one and where not, if it gives no probabilities itself.
        called_silent: how probably what it calls silent is silent, likewise.
        scale, shift: of the log odds of a change, if it does.
        surest_silence: what its probabilities of silence count at most.
        may_be_late: whether all that it says may come late together.
    """

    said: float = TRUSTED
    unsaid: float = 1 - TRUSTED
    called_silent: float = CALLED_SILENT
    scale: float = 1.0
    shift: float = 0.0
    surest_silence: float = 1.0
    may_be_late: bool = False

    def change(self, points: ControlPoints) -> np.ndarray:
        """``(T,)`` probabilities of a change, calibrated; of the first frame, that it begins a segment."""
        if points.confidence is None:
            chances = np.where(points.flags, self.said, self.unsaid)
            chances[0] = TRUSTED
            return chances
        trust = np.minimum(points.confidence, TRUSTED)
        chances = np.where(points.flags, trust, 1 - trust)
        if (self.scale, self.shift) != (1.0, 0.0):
            held = np.clip(chances[1:], CERTAIN, 1 - CERTAIN)
            chances[1:] = 1 / (1 + np.exp(-self.scale * (np.log(held) - np.log1p(-held)) - self.shift))
        return chances

    def silence(self, points: ControlPoints) -> np.ndarray:
        """``(T,)`` probabilities of silence; NaN where nothing is known."""
        if points.silence is not None:
            told = points.silence
        else:
            told = np.full(len(points), np.nan)
            for segment in points.segments():
                if segment.silent is not None:
                    told[segment.start : segment.stop] = (
                        self.called_silent if segment.silent else 1 - self.called_silent
                    )
        return np.asarray(np.minimum(told, self.surest_silence) if points.confidence is not None else told)


FACTS = Trust(called_silent=TRUSTED)  # of a truth, of a person, of a file
NOT_HEARD = frozenset({"truth", "file", "from_masks", "labels", "intervals", "edited", "unknown"})
# Measured by ``benchmarks/fit_trust.py`` on 180 mixtures of the training part of a library of real objects (1020 frames;
# seeds 6000 to 6059 of each kind); on 60 of its validation part the shares differ by 0.06 at most. The odds of
# ``changepoint`` were fitted there: its expected calibration error on the validation part falls from 0.12 to 0.08. What it
# hears as silence is not sure enough to empty a frame: of what it gives more than 0.9 a share of 0.93 is silent, and each
# of the others is a right mask lost.
MEASURED = {
    "boundary": Trust(),  # calibrated by its own training
    "changepoint": Trust(scale=0.183, shift=-0.776, surest_silence=0.88),
    "cosine-logmel": Trust(0.40, 0.11),
    "cosine-yamnet": Trust(0.54, 0.13),
    "tagger": Trust(0.45, 0.19),
    "every_k": Trust(BASE_RATE, BASE_RATE),
    "none": Trust(BASE_RATE, BASE_RATE),
}
# A language model's answers could not be measured here. The paper has them above cosine similarity (table 2); of any other
# part that says yes or no without probabilities as much is held. Whoever counts seconds may count all of them too late;
# nothing in one clip tells that from a model that is early in all it does, and so nothing is edited for that.
UNMEASURED = replace(MEASURED["cosine-yamnet"], may_be_late=True)


def trust_in(points: ControlPoints) -> Trust:
    """In whoever gave these control points: what was measured of it; facts are believed.

    Masks of one foreground do not show changes from one object to another: where they say none, that is no evidence.
    """
    by = points.origin.fallback or points.origin.generator
    if by in MEASURED:
        return MEASURED[by]
    if by.endswith(SOUND_AND_SILENCE):
        return replace(FACTS, unsaid=BASE_RATE)
    if by in NOT_HEARD or by not in parts.names("control_points"):
        return FACTS
    return UNMEASURED
