"""What the keyframe processor hears: a row of numbers for each frame's sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..audio.vggish import VGGish
from ..errors import CheckpointError, unknown_name
from ..propagators.guides import LOG_MEL_DIM, AudioFeatures, log_mel_features
from ..structures import Clip

EARS = {"vggish": 128, "logmel": LOG_MEL_DIM, "yamnet": 1024}
HOP_S = 0.24


def open_ear(name: str, checkpoint: str | Path | VGGish | None = None) -> AudioFeatures:
    """A clip's ``(T, D) float32`` features, D as in EARS.

    Args:
        name: ``vggish`` (the paper's), ``logmel`` (no weights) or ``yamnet``.
        checkpoint: VGGish's published file, or a loaded VGGish; YAMNet's file, by default the installed package's.

    Raises:
        CheckpointError: VGGish without a file, or a file that does not fit.
        CoPropError: an unknown name, or YAMNet's package is not installed.
    """
    if name not in EARS:
        raise unknown_name("ear of the keyframe processor", name, EARS)
    if name == "logmel":
        return log_mel_features
    if name == "vggish":
        if not checkpoint:
            raise CheckpointError("kpf hears with VGGish: give audio_checkpoint=FILE (vggish-10086976.pth).")
        vggish = checkpoint if isinstance(checkpoint, VGGish) else VGGish.load(checkpoint)
        return lambda clip: vggish.embed_windows(clip.sound, clip.time_base.sound_window_s)
    from ..audio.yamnet import YamNet

    yamnet = YamNet.load(checkpoint)  # type: ignore[arg-type]
    return lambda clip: at_windows(yamnet.listen(clip.sound, hop_s=HOP_S)[1], clip)


def ear_of(audio_dim: int) -> str:
    """The ear whose features have so many numbers.

    Raises:
        CheckpointError: none has.
    """
    names = {dim: name for name, dim in EARS.items()}
    if audio_dim not in names:
        raise CheckpointError(f"weights that hear {audio_dim} numbers a frame; the ears that there are have {EARS}.")
    return names[audio_dim]


def at_windows(patches: np.ndarray, clip: Clip) -> np.ndarray:
    """``(T, D)``: the mean of the patches whose middles lie in each frame's window, or the nearest one."""
    middles_s = (np.arange(len(patches)) + 0.5) * HOP_S
    rows = []
    for start_s, stop_s in clip.time_base.sound_window_s:
        inside = (middles_s >= start_s) & (middles_s < stop_s)
        nearest = np.abs(middles_s - (start_s + stop_s) / 2).argmin()
        rows.append(patches[inside].mean(axis=0) if inside.any() else patches[nearest])
    return np.stack(rows).astype(np.float32)
