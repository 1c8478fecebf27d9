"""The sound as the published AVS pipelines hear it: one VGGish example a second, 0.96 s each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..audio.resample import resample
from ..audio.vggish import EXAMPLE_SAMPLES, RATE_HZ, VGGish, log_mel_examples
from ..errors import CheckpointError
from ..structures import Clip

Missing = Literal["repeat", "zero"]


class SecondExamples:
    """The log-mel example of each frame of a clip.

    Published models were trained on clips of 5 or 10 seconds, whose k-th frame goes with the k-th example; examples
    are 0.96 s apart, so they drift from the seconds. A longer clip is cut into stretches of that length, each heard
    as a clip of its own: the drift starts again at every stretch. A frame belongs to the second that its sound
    window's midpoint lies in, whatever the sampling.

    Args:
        clip: whose sound it is.
        stretch_s: whole seconds of a published clip.
        missing: what stands for seconds after the end of the sound: the stretch's last example again (S4, MS3), or
            zeros, which are no silence (AVSS). What a reader put behind a recording to fill the clip counts as
            its end, a recorded silence does not. A stretch without any whole example is filled with silence first.
    """

    def __init__(self, clip: Clip, *, stretch_s: int, missing: Missing) -> None:
        self._sound, self._stretch_s, self._missing = clip.sound, stretch_s, missing
        self._second = np.floor(clip.time_base.sound_window_s.mean(axis=1) + 1e-9).astype(int)
        self._last: tuple[int, np.ndarray] | None = None

    def of(self, frames: Sequence[int]) -> np.ndarray:
        """``(n, 1, 96, 64) float32`` for n frame indices."""
        places = [divmod(int(self._second[t]), self._stretch_s) for t in frames]
        return np.stack([self._stretch(stretch)[second] for stretch, second in places])

    def _stretch(self, index: int) -> np.ndarray:
        """``(stretch_s, 1, 96, 64)``; the latest stretch is kept."""
        if self._last is None or self._last[0] != index:
            rate_hz, start_s = self._sound.rate_hz, index * self._stretch_s
            stop = min((start_s + self._stretch_s) * rate_hz, self._sound.recorded)
            samples = self._sound.samples[start_s * rate_hz : stop]
            self._last = index, self._filled(resample(np.asarray(samples), rate_hz, RATE_HZ))
        return self._last[1]

    def _filled(self, samples: np.ndarray) -> np.ndarray:
        examples = log_mel_examples(np.pad(samples, (0, max(0, EXAMPLE_SAMPLES - len(samples)))))
        examples = examples[: self._stretch_s]
        lacking = ((0, self._stretch_s - len(examples)), (0, 0), (0, 0), (0, 0))
        return np.pad(examples, lacking, mode="edge" if self._missing == "repeat" else "constant")


def load_vggish(checkpoint: str | Path | VGGish | None, *, part: str) -> VGGish:
    """VGGish with the published weights: read from a file, or loaded already (several adapters may share it).

    Raises:
        CheckpointError: no file was named (a random network is never run), or it does not fit.
    """
    if isinstance(checkpoint, VGGish):
        return checkpoint
    if not checkpoint:
        raise CheckpointError(
            f"the adapter '{part}' needs audio_checkpoint=FILE, VGGish's published weights (vggish-10086976.pth): "
            "its own checkpoint does not hold them."
        )
    return VGGish.load(checkpoint)
