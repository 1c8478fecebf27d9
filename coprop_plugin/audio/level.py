"""How loud a recording is, and by how much a very quiet one is raised before anything listens to it.

Ears have floors in decibels of full scale, under which they take all for silence. A recording whose loudest moment is
near such a floor, and which has loud and soft moments at all, is a quiet recording and no silent one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structures import Sound

CELL_S = 0.1
LOUDEST_CELLS = 2
QUIETEST_PERCENT = 10
RAISED_TO_DBFS = -31.0  # loudest moments above this are heard as they are
LEAST_CONTRAST_DB = 6.0  # a steady hiss of that level is the recorder's own
NOTHING_DBFS = -90.0  # under this only rounding is left of a 16-bit recording
BLOCK_CELLS = 600
_TINY = 1e-15


@dataclass(frozen=True)
class Level:
    """Of a recording, in dB of full scale (0: the power of a full-scale square wave).

    Attributes:
        loudest_dbfs: of its loudest 0.2 s.
        quietest_dbfs: that a tenth of it stays under.
    """

    loudest_dbfs: float
    quietest_dbfs: float

    @property
    def gain_db(self) -> float:
        """By how much it is to be raised before it is listened to; 0 for ordinary recordings, and for silence."""
        if self.loudest_dbfs < NOTHING_DBFS or self.loudest_dbfs - self.quietest_dbfs < LEAST_CONTRAST_DB:
            return 0.0
        return max(0.0, RAISED_TO_DBFS - self.loudest_dbfs)

    def is_nothing(self, floor_dbfs: float) -> bool:
        """Whether it never gets louder than a floor, and is no quiet recording either."""
        return self.loudest_dbfs < floor_dbfs and self.gain_db == 0

    @property
    def note(self) -> str | None:
        """What a reader must know of it."""
        if self.gain_db < 1:
            return None
        return (
            f"the recording is very quiet (its loudest moment has {self.loudest_dbfs:.0f} dBFS); it is heard "
            f"{self.gain_db:.0f} dB louder, and silence is what is far under its own loudest moments"
        )


def level_of(sound: Sound) -> Level:
    """The level of what was recorded, in cells of a tenth of a second; a constant and very low rumble do not count."""
    length = max(2, round(CELL_S * sound.rate_hz))
    samples = sound.samples[: sound.recorded]
    powers = []
    for start in range(0, len(samples), BLOCK_CELLS * length):
        piece = np.asarray(samples[start : start + BLOCK_CELLS * length], np.float64)
        whole = max(1, len(piece) // length)  # the rest of a cell counts only where there is nothing else
        powers.append(piece[: whole * length].reshape(whole, -1).var(axis=1))
    decibels = 10 * np.log10(np.maximum(np.concatenate(powers or [np.zeros(1)]), _TINY))
    loudest = np.sort(decibels)[-LOUDEST_CELLS:].mean()
    return Level(float(loudest), float(np.percentile(decibels, QUIETEST_PERCENT)))


def raised(samples: np.ndarray, gain_db: float) -> np.ndarray:
    """``(n,)`` samples that much louder; the same array where nothing is to be done."""
    return samples if gain_db == 0 else samples * np.float32(10 ** (gain_db / 20))
