"""Faults of recordings that leave an ear deaf: channels that cancel, numbers on another scale, a constant, clipping.

What can be mended is mended; everything is told. A recording that is merely quiet is left as it is: what listens
raises it for itself (:mod:`coprop_plugin.audio.level`).
"""

from __future__ import annotations

import numpy as np

from ..errors import MediaError

WINDOW_S = 0.5  # channels are compared in windows of this length
CANCELLED = 0.25  # of the power that the mean of unlike channels keeps; less is no accident over half a second
HEARD_DB = 40.0  # windows further under the loudest one do not count
FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)  # of integers that were written as floats
FLOAT_PEAK = 8.0  # 18 dB over full scale: no recording, but mixes and decoders may go a little over 1
LEAST_OFFSET, OFFSET_SHARE = 1e-3, 0.3  # of a constant: on the scale of samples, and of the rest's root mean square
FLAT_SHARE, FLAT_LEVEL = 0.01, 0.9999  # samples equal to the one before, this near to the peak: cut off at the top
_BLOCK_SAMPLES = 1 << 20


class Channels:
    """Mixes blocks ``(n, C)`` to their mean, or picks one channel, and watches what the mean loses.

    Args:
        rate_hz: of the samples.
        channel: take this one instead of the mean.
    """

    def __init__(self, *, rate_hz: int, channel: int | None = None) -> None:
        self.channel = channel
        self._window = max(1, round(WINDOW_S * rate_hz))
        self._powers: list[np.ndarray] = []  # of each window: every channel's, then the mean's
        self._rest: np.ndarray | None = None

    def mono(self, block: np.ndarray) -> np.ndarray:
        """``(n,)`` of a block ``(n, C)``."""
        if self.channel is not None:
            return block[:, min(self.channel, block.shape[1] - 1)]
        mean = block.mean(axis=1)
        if block.shape[1] > 1:
            self._watch(np.column_stack([block, mean]))
        return mean

    def _watch(self, columns: np.ndarray) -> None:
        if self._rest is not None and self._rest.shape[1] == columns.shape[1]:
            columns = np.concatenate([self._rest, columns])
        whole = len(columns) // self._window * self._window
        if whole:
            # A constant is no sound, and does not cancel like one.
            pieces = columns[:whole].reshape(-1, self._window, columns.shape[1]).astype(np.float64)
            self._powers += list(pieces.var(axis=1))
        self._rest = columns[whole:]

    def cancelled(self) -> int | None:
        """The loudest channel, if the mean loses what the channels hold in some window; else ``None``.

        Unlike channels keep a ``1 / C`` of their mean power, and so does a sound in one channel alone.
        """
        rest = [] if self._rest is None or len(self._rest) < 2 else [self._rest.astype(np.float64).var(axis=0)]
        widths = {len(row) for row in (*self._powers, *rest)}
        if len(widths) != 1 or self.channel is not None:
            return None
        powers = np.stack([*self._powers, *(rest if not self._powers else [])])
        channels, mean = powers[:, :-1], powers[:, -1]
        held = channels.mean(axis=1)
        heard = held > max(held.max() * 10 ** (-HEARD_DB / 10), 1e-12)
        lost = heard & (mean < CANCELLED * held / channels.shape[1])
        return int(channels[lost].sum(axis=0).argmax()) if lost.any() else None


def mend(samples: np.ndarray, *, where: str) -> tuple[str, ...]:
    """Bring samples to full scale 1 and take off a constant, in place; what was done, and clipping, in words.

    Args:
        samples: ``(n,) float32``, the recorded ones; may be a memory map.
        where: the file, for errors.

    Raises:
        MediaError: numbers too large for any integer samples.
    """
    notes = []
    peak, mean, power, flat = _measured(samples)
    if peak > FLOAT_PEAK:
        scale = next((scale for scale in FULL_SCALES if peak <= scale), None)
        if scale is None:
            raise MediaError(
                f"{where}: holds samples of up to {peak:.3g}; float sound lies in about [-1, 1], and integers written "
                f"as floats go up to {FULL_SCALES[-1]:.0f}. Write it again as 16-bit PCM."
            )
        for block in _blocks(samples):
            block /= np.float32(scale)
        mean, power = mean / scale, power / scale**2
        notes.append(f"its floats are integers of {int(np.log2(scale)) + 1} bits; they are scaled to [-1, 1]")
    if abs(mean) > max(LEAST_OFFSET, OFFSET_SHARE * np.sqrt(power)):
        for block in _blocks(samples):
            block -= np.float32(mean)
        notes.append(f"the sound has a constant offset of {mean:.3f}; it is taken off")
    if flat > FLAT_SHARE:
        notes.append(f"the sound is clipped: {100 * flat:.0f} % of its samples are cut off at the top")
    return tuple(notes)


def _measured(samples: np.ndarray) -> tuple[float, float, float, float]:
    """Peak, mean, power around the mean, and the share of samples that are flat at the top of either side."""
    count = max(1, len(samples))
    low = min((float(block.min()) for block in _blocks(samples)), default=0.0)
    high = max((float(block.max()) for block in _blocks(samples)), default=0.0)
    mean = sum(float(block.sum(dtype=np.float64)) for block in _blocks(samples)) / count
    squares = sum(float(np.square(block, dtype=np.float64).sum()) for block in _blocks(samples))
    flat = 0
    if high - low > LEAST_OFFSET:
        middle, reach = (high + low) / 2, FLAT_LEVEL * (high - low) / 2
        for block in _blocks(samples):
            flat += int(((np.abs(block[1:] - middle) >= reach) & (block[1:] == block[:-1])).sum())
    return max(high, -low), mean, max(0.0, squares / count - mean**2), flat / count


def _blocks(samples: np.ndarray) -> list[np.ndarray]:
    return [samples[start : start + _BLOCK_SAMPLES] for start in range(0, len(samples), _BLOCK_SAMPLES)]
