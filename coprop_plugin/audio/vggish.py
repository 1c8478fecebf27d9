"""VGGish (Hershey et al., 2017) as the published AVS code uses it: waveform, log-mel examples, 128 features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CoPropError
from ..structures import Sound
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.unfilled import unfilled
from ..weights.variants import State, Variant
from .resample import resample

RATE_HZ = 16000
FRAME, HOP, FFT = 400, 160, 512  # samples: 25 ms every 10 ms, zero-padded
MEL_BANDS, MEL_LOW_HZ, MEL_HIGH_HZ = 64, 125.0, 7500.0
EXAMPLE_FRAMES = 96  # 0.96 s
EXAMPLE_SAMPLES = (EXAMPLE_FRAMES - 1) * HOP + FRAME
BATCH = 32  # examples that go through the network at once
PCA_CLIP = 2.0


def log_mel_examples(samples: np.ndarray) -> np.ndarray:
    """``(N,)`` samples at 16 kHz as ``(count, 1, 96, 64) float32`` log-mel examples.

    Examples follow each other without overlap, the incomplete tail is dropped; example k begins at 0.96 k seconds.

    Raises:
        CoPropError: fewer than 240 samples (less than nothing to cut frames from, in the published code too).
    """
    if len(samples) < FRAME - HOP:
        raise CoPropError(f"VGGish needs at least {FRAME - HOP} samples at 16 kHz, got {len(samples)}.")
    if len(samples) < EXAMPLE_SAMPLES:
        return np.empty((0, 1, EXAMPLE_FRAMES, MEL_BANDS), np.float32)
    count = (len(samples) - FRAME) // HOP + 1
    firsts = HOP * np.arange(count // EXAMPLE_FRAMES * EXAMPLE_FRAMES)
    log_mel = np.log(mel_magnitudes(samples, firsts) + 0.01).astype(np.float32)
    return log_mel.reshape(-1, 1, EXAMPLE_FRAMES, MEL_BANDS)


def mel_magnitudes(samples: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """``(n, 64) float64``: magnitudes in mel bands of the 25 ms that begin at these samples of 16 kHz sound."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), FRAME)[firsts]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    return np.abs(np.fft.rfft(frames * window, FFT)) @ mel_weights()


def mel_weights() -> np.ndarray:
    """``(257, 64) float64``: triangles in mel over the magnitudes; the constant bin has no weight."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log(1.0 + np.asarray(hz) / 700.0)

    edges = np.linspace(mel(MEL_LOW_HZ), mel(MEL_HIGH_HZ), MEL_BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = mel(np.linspace(0.0, RATE_HZ / 2, FFT // 2 + 1))[:, None]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return weights


def convolutions() -> nn.Sequential:
    """VGGish's convolutions: ``(N, 1, 96, 64)`` log-mel examples to ``(N, 512, 6, 4)``, time and mel."""
    layers: list[nn.Module] = []
    channels = 1
    for width, pooled in ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True)):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels = width
    return nn.Sequential(*layers)


class VGGish(nn.Module):
    """``(N, 1, 96, 64)`` log-mel examples to ``(N, 128)`` features, none negative; published parameter names."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions()
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128), nn.ReLU()
        )

    def forward(self, examples: Tensor) -> Tensor:
        maps = self.features(examples)
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # time, mel, channel

    @classmethod
    def load(cls, checkpoint: str | Path) -> VGGish:
        """With the published weights, ready for inference.

        Raises:
            CheckpointError: no such file, unsafe, damaged, or of another model.
        """
        with unfilled():  # 72 million random numbers would be drawn for nothing
            model = cls()
        model.to_empty(device="cpu")
        load_into(model, read_state_dict(checkpoint), what=f"'{checkpoint}'")
        return model.eval().requires_grad_(False)

    @torch.inference_mode()
    def embed_windows(self, sound: Sound, windows_s: np.ndarray) -> np.ndarray:
        """``(T, 128) float32``: one embedding for each ``(start_s, stop_s)`` of the sound.

        VGGish hears 0.975 s; they are centred on the window, so that every frame is heard at its own time (the
        published pipelines take consecutive 0.96 s instead, which drift from the seconds of the video).
        """
        parts = [windows_s[start : start + BATCH] for start in range(0, len(windows_s), BATCH)]
        return np.concatenate([self(torch.from_numpy(window_examples(sound, part))).numpy() for part in parts])


def window_examples(sound: Sound, windows_s: np.ndarray) -> np.ndarray:
    """``(T, 1, 96, 64) float32``: the log-mel example centred on each ``(start_s, stop_s)``; silence outside."""
    # Only the stretch that is heard is resampled. It begins at a whole second, where both rates have a sample.
    start_s = np.floor(windows_s.min()) - 1
    stretch = resample(sound.window(start_s, np.ceil(windows_s.max()) + 1), sound.rate_hz, RATE_HZ)
    centres = np.rint((windows_s.mean(axis=1) - start_s) * RATE_HZ).astype(int)
    firsts = centres - EXAMPLE_SAMPLES // 2
    return np.concatenate([log_mel_examples(stretch[first : first + EXAMPLE_SAMPLES]) for first in firsts])


def quantise(embedding: np.ndarray, eigenvectors: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The released PCA and 8-bit codes: ``(N, 128)`` features to ``(N, 128) uint8``. No published AVS model uses them.

    Args:
        eigenvectors: ``(128, 128)``, ``pca_eigen_vectors`` of the published file.
        means: ``(128,)``, ``pca_means``.
    """
    projected = (embedding - means.reshape(1, -1)) @ eigenvectors.T
    return np.rint((projected.clip(-PCA_CLIP, PCA_CLIP) + PCA_CLIP) * 255 / (2 * PCA_CLIP)).astype(np.uint8)


def _pca(_: State) -> nn.Module:
    """The published PCA beside the network; no AVS model applies it."""
    module = nn.Module()
    module.register_parameter("pca_eigen_vectors", nn.Parameter(torch.zeros(128, 128)))
    module.register_parameter("pca_means", nn.Parameter(torch.zeros(128)))
    return module


VARIANTS = (
    Variant("vggish", "vggish", lambda _: VGGish(), marks="embeddings.4.weight"),
    Variant("vggish_pca", "vggish_pca", _pca, marks="pca_eigen_vectors"),
)
