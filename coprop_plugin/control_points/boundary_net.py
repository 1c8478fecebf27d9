"""The network of the learned control points: what it hears, and a logit of a change and of silence for each frame.

A frame is a twentieth of a second: its mel spectrum, and bands of a semitone, in which the harmonics of one source stand
apart from another's. Beside the spectra themselves the network is shown how unlike the sound just before and just after
each frame are, over several spans: a change is what it looks for, and small data need not teach it that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..audio.log_mel import HOPS_PER_S, NUM_MELS, log_mel
from ..audio.semitones import NUM_SEMITONES, semitones
from ..structures import Sound
from .boundary_ear import BoundaryEar
from .boundary_taps import taps

FRAMES_PER_S = 20
SPANS_FRAMES = (4, 8, 16, 40)  # compared before and after a frame
TIMBRE_SPANS_FRAMES = (16, 40)  # the same for the form of the spectrum, weighted by loudness
TONE_SPANS_FRAMES = (4, 10, 24)  # the same for semitones
NUM_BANDS = NUM_MELS + NUM_SEMITONES
WIDTH = 96
DILATIONS = (1, 2, 4, 8, 16, 32)  # of the layers over time: 3.2 s to each side, and the spans above on top of it
LOWEST_DB = 70.0  # under the recording's loudest moment; softer is all the same
_UNIT_DB = 20.0


def heard_frames(sound: Sound, *, start: int, stop: int, loudest_dbfs: float) -> np.ndarray:
    """``(stop - start, NUM_BANDS) float32``: :func:`band_levels` in dB above the recording's loudest moment."""
    return within_reach(band_levels(sound, start=start, stop=stop, gain_db=-loudest_dbfs))


def within_reach(levels: np.ndarray) -> np.ndarray:
    """Levels in dB above the loudest moment as the network hears them: none under ``LOWEST_DB``."""
    return np.maximum(levels, np.float32(-LOWEST_DB)).astype(np.float32)


def band_levels(sound: Sound, *, start: int, stop: int, gain_db: float = 0.0) -> np.ndarray:
    """``(stop - start, NUM_BANDS) float32``: power of frames in mel bands, then semitones, in dB of full scale.

    Frame i is the sound of ``[i, i + 1) / FRAMES_PER_S`` seconds (semitones: around its middle); zeros are taken beyond
    the sound. It is heard ``gain_db`` louder than it is, so that what digital silence is follows the recording.
    """
    hops = HOPS_PER_S // FRAMES_PER_S
    decibels = log_mel(sound, start=start * hops, stop=stop * hops, gain_db=gain_db)
    power = (10 ** (decibels / 10)).reshape(stop - start, hops, NUM_MELS).mean(axis=1)
    tones = semitones(sound, start=start, stop=stop, frames_per_s=FRAMES_PER_S, gain_db=gain_db)
    return np.concatenate([10 * np.log10(power), tones], axis=1)


class BoundaryNet(nn.Module):
    """``(B, T, NUM_BANDS)`` dB to ``(B, T, 2)`` logits: change, silence.

    The change of frame t is one between frame t - 1 and frame t. ``calibration`` holds the scale and the shift that make
    a probability of the logit of a change within a second, without YAMNet and with it; they are fitted on clips that
    were not trained on. ``ear`` is for those who have YAMNet: it makes better logits of a change of these.
    """

    calibration: Tensor

    def __init__(self) -> None:
        super().__init__()
        seen = NUM_MELS * (1 + 2 * len(SPANS_FRAMES) + len(TIMBRE_SPANS_FRAMES)) + 1
        seen += NUM_SEMITONES * (1 + 2 * len(TONE_SPANS_FRAMES))
        self.first = nn.Linear(seen, WIDTH)
        # Dilated convolutions of three taps over time, as products of matrices: on a CPU a few times as fast.
        self.layers = nn.ModuleList(nn.Linear(3 * WIDTH, WIDTH) for _ in DILATIONS)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in DILATIONS)
        self.last = nn.Linear(3 * WIDTH, 2)
        self.seen, self.kept = nn.Dropout(0.1), nn.Dropout(0.15)
        self.ear = BoundaryEar()
        self.register_buffer("calibration", torch.tensor([[1.0, 0.0], [1.0, 0.0]]))

    def forward(self, heard: Tensor) -> Tensor:
        return self.last(self.features(heard))

    def features(self, heard: Tensor) -> Tensor:
        """``(B, T, 3 WIDTH)``: what the logits of each frame are read from."""
        mel, tones = heard.split([NUM_MELS, NUM_SEMITONES], dim=-1)
        seen = torch.cat([contrasts(mel), tone_contrasts(tones)], dim=-1)
        flow = torch.relu(self.first(self.seen(seen)))
        for layer, norm, step in zip(self.layers, self.norms, DILATIONS, strict=True):
            flow = flow + self.kept(torch.relu(layer(taps(norm(flow), step))))
        return taps(flow, 1)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, what: str) -> BoundaryNet:
        """With these weights, ready to listen.

        Raises:
            CheckpointError: weights of another network.
        """
        from ..weights.checkpoint import load_into

        net = cls()
        load_into(net, {name: value.float() for name, value in state.items()}, what=what)
        return net.eval().requires_grad_(False)


def contrasts(mel: Tensor) -> Tensor:
    """``(B, T, D)``: the spectrum, its level, and how unlike before and after are, of ``(B, T, NUM_MELS)`` dB."""
    mel = mel.clamp(-LOWEST_DB, _UNIT_DB) / _UNIT_DB
    level = torch.logsumexp(mel * (_UNIT_DB / 10 * np.log(10)), dim=-1, keepdim=True) / (_UNIT_DB / 10 * np.log(10))
    parts = [mel, level]
    for span in SPANS_FRAMES:
        before, after = _means_beside(mel, span)
        parts += [(after - before).abs(), after - before]
    loudness = 10 ** (level.clamp(max=0.5) * _UNIT_DB / 20)
    timbre = torch.cat([(mel - level) * loudness, loudness], dim=-1)
    for span in TIMBRE_SPANS_FRAMES:
        before, after = (mean[..., :-1] / mean[..., -1:].clamp(min=1e-3) for mean in _means_beside(timbre, span))
        parts.append((after - before).abs())
    return torch.cat(parts, dim=-1)


def tone_contrasts(tones: Tensor) -> Tensor:
    """``(B, T, D)``: semitones ``(B, T, NUM_SEMITONES)`` dB, and how they rise, fall and differ."""
    tones = tones.clamp(-LOWEST_DB, _UNIT_DB) / _UNIT_DB
    parts = [tones]
    for span in TONE_SPANS_FRAMES:
        before, after = _means_beside(tones, span)
        parts += [(after - before).abs(), after - before]
    return torch.cat(parts, dim=-1)


def _means_beside(values: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """The means of the ``span`` frames before each frame and from it on; at the ends, of those that there are.

    Before the first frame nothing is known: its own side is taken, so that nothing differs.
    """
    length = values.shape[1]
    sums = torch.nn.functional.pad(values.cumsum(dim=1), (0, 0, 1, 0))
    here = torch.arange(length, device=values.device)
    first, last = (here - span).clamp(min=0), (here + span).clamp(max=length)
    after = (sums[:, last] - sums[:, here]) / (last - here)[:, None]
    before = (sums[:, here] - sums[:, first]) / (here - first).clamp(min=1)[:, None]
    return torch.where((here > 0)[:, None], before, after), after


def pooled(logits: Tensor, edges: Tensor) -> Tensor:
    """``(B, K)``: the logit of any change in the frames ``(edges[k], edges[k + 1]]``, from ``(B, T)`` logits of each.

    Odds add up: one sure change anywhere makes its stretch sure, and so do many half sure ones side by side.
    """
    pieces = [
        logits[:, a + 1 : b + 1].logsumexp(dim=1) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return torch.stack(pieces, dim=1)
