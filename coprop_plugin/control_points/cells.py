"""The sound in cells of a tenth of a second: how loud, of what timbre, and whether anything sounds.

Timbre is a short cepstrum of the log-mel spectrum: its first entries say how the energy lies over the bands, with much
less correlation between them than between the bands themselves, so that one variance an entry is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from ..audio.log_mel import HOPS_PER_S, NUM_MELS, log_mel
from ..structures import Sound

CELLS_PER_S = 10
NUM_CEPSTRA = 9
BAND_RANGE_DB = 44.0  # bands this far under a cell's strongest are lifted: they are room and codec, not the source

# Silence is judged against the loudest 0.2 s around, within bounds in dB of full scale: whatever lies under the lower
# bound is silence (a recording's own noise), whatever lies above the upper one is not (a street is a sound).
QUIETER_DB = 24.0
SILENT_BELOW_DBFS, SOUNDING_ABOVE_DBFS = -55.0, -44.0
LOUDEST_CELLS = 2
PLAIN_DB = 4.0  # this far from the threshold there is no doubt


@dataclass(frozen=True)
class Cells:
    """``n`` cells of one stretch of sound.

    Attributes:
        margin_db: ``(n,)`` how far each cell's power is above the threshold of silence.
        timbre: ``(n, NUM_CEPSTRA)`` cepstra in dB; entry 0 is the mean level of the bands.
    """

    margin_db: np.ndarray
    timbre: np.ndarray

    def __len__(self) -> int:
        return len(self.margin_db)

    @property
    def active(self) -> np.ndarray:
        """``(n,) bool``: something sounds."""
        return self.margin_db > 0

    @property
    def plain(self) -> np.ndarray:
        """``(n,)`` in [0, 1]: how plainly each cell sounds or does not; near the threshold it is neither."""
        return np.minimum((self.margin_db / PLAIN_DB) ** 2, 1)


def listen(sound: Sound, *, start: int, stop: int, gain_db: float = 0.0) -> Cells:
    """The cells ``[start, stop)``, where cell i is the sound of ``[i, i + 1) / CELLS_PER_S`` seconds.

    Args:
        gain_db: by how much the recording is raised (:mod:`coprop_plugin.audio.level`).
    """
    hops = HOPS_PER_S // CELLS_PER_S
    decibels = log_mel(sound, start=start * hops, stop=stop * hops, gain_db=gain_db)
    power = (10 ** (decibels / 10)).reshape(stop - start, hops, NUM_MELS).mean(axis=1)
    level_db = 10 * np.log10(power.sum(axis=1))
    bands_db = 10 * np.log10(power)
    bands_db = np.maximum(bands_db, bands_db.max(axis=1, keepdims=True) - BAND_RANGE_DB)
    timbre = dct(bands_db, axis=1, norm="ortho")[:, :NUM_CEPSTRA] / np.sqrt(NUM_MELS)
    return Cells(level_db - silence_threshold_dbfs(level_db), timbre.astype(np.float64))


def silence_threshold_dbfs(level_db: np.ndarray) -> float:
    """The level under which a cell of this stretch is silent."""
    loudest = np.sort(level_db)[-LOUDEST_CELLS:].mean()
    return float(np.clip(loudest - QUIETER_DB, SILENT_BELOW_DBFS, SOUNDING_ABOVE_DBFS))
