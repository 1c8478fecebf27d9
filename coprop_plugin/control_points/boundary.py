"""Learned control points: a small network, trained on mixtures of real recordings, says how probably the sound changes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..audio.level import Level, level_of
from ..errors import CoPropError
from ..parts import part
from ..structures import Clip, ControlPoints, Origin, Prediction, Sound, TimeBase
from .base import ControlPointGenerator
from .cells import CELLS_PER_S, SILENT_BELOW_DBFS
from .changepoint import refined_s
from .silence import FITTED_BOUNDARY, MAX_LOGIT, with_silence

if TYPE_CHECKING:
    from ..audio.yamnet import YamNet
    from .boundary_net import BoundaryNet

WEIGHTS = Path(__file__).resolve().parent.parent / "data" / "boundary.safetensors"
THRESHOLD = 0.46  # of the probability that a frame begins with a change; chosen on validation clips
STRETCH_S, CONTEXT_S = 60.0, 6.0  # the network sees less than CONTEXT_S to each side: stretches equal the whole
FINE_WINDOW_S = 0.2  # windows shorter than this are too short to ask of each by itself
PEAK_S = 0.25  # a change is one within so much before and after


class Heard(NamedTuple):
    """Of each frame of the network, ``(n,)`` each: logits of a change and of silence, and the level in dBFS."""

    change: np.ndarray
    silence: np.ndarray
    level_dbfs: np.ndarray
    calibration: tuple[float, float] = (1.0, 0.0)

    @property
    def cells_dbfs(self) -> np.ndarray:
        """The level of each cell (:mod:`.cells`)."""
        from .boundary_net import FRAMES_PER_S

        power = 10 ** (self.level_dbfs / 10)
        starts = np.arange(0, len(power), FRAMES_PER_S // CELLS_PER_S)
        counts = np.diff(np.append(starts, len(power)))
        return np.asarray(10 * np.log10(np.add.reduceat(power, starts) / counts))

    def chance(self, odds: np.ndarray) -> np.ndarray:
        """The calibrated probability of a change where the odds of frames sum up to these."""
        scale, shift = self.calibration
        logits = scale * np.log(np.maximum(odds, 1e-30)) + shift
        return np.asarray(1 / (1 + np.exp(-logits.clip(-50, 50))))


@part("control_points", "boundary", example="threshold=0.5")
class Boundary(ControlPointGenerator):
    """Where the set of sounding sources changes, or silence begins or ends, by a network trained on real recordings.

    It hears mel and semitone spectra at the sound's own rate, relative to the loudest moment. Its weights (0.5 MB)
    come with the package; ``coprop train control-points`` makes others. Fills ``silent`` and ``confidence`` (a
    calibrated probability).

    Args:
        weights: a file of that training; by default the package's.
        threshold: of the probability of a change, in (0, 1).
        yamnet: hear with YAMNet as well (an installed package, see ``tagger``): about as good, and ten times as slow.
        device: ``cpu``, or as torch names it; the network is too small to gain from a GPU.

    Raises:
        CoPropError: a threshold out of range, or weights of another network.
    """

    def __init__(
        self, *, weights: str | Path = WEIGHTS, threshold: float = THRESHOLD, yamnet: bool = False, device: str = "cpu"
    ) -> None:
        if not 0 < threshold < 1:
            raise CoPropError(f"the threshold of a probability lies between 0 and 1, got {threshold}.")
        self.weights, self.threshold, self.device = Path(weights), threshold, device
        self._net: BoundaryNet | None = None
        self._yamnet: Path | YamNet | None = None
        if yamnet:
            from ..audio.yamnet_files import installed_weights

            self._yamnet = installed_weights()

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Listen to the clip; ``base`` is not looked at."""
        sound, time_base = clip.sound, clip.time_base
        level = level_of(sound)
        if level.is_nothing(SILENT_BELOW_DBFS):
            first = np.arange(len(time_base)) == 0
            return ControlPoints(first, silent=(True,), origin=Origin(self.name))
        heard = self.hear(sound, time_base.duration_s, level=level)
        chances = window_chances(heard, time_base)
        frame_s = time_base.duration_s / len(time_base)
        if frame_s >= FINE_WINDOW_S:
            flags = np.append(True, chances[1:] > self.threshold)
        else:
            times_s, chances = self._fine(heard, sound, time_base)
            flags = time_base.flags_of_changes(times_s)
        silent = silent_segments(heard, flags, time_base)
        # Two silent segments side by side are one.
        stays = [i == 0 or not (silent[i] and silent[i - 1]) for i in range(len(silent))]
        flags[flags] = stays
        confidence = np.where(flags, chances, 1 - chances)
        confidence[0] = 1
        points = ControlPoints(
            flags,
            confidence=confidence,
            silent=tuple(s for s, stay in zip(silent, stays, strict=True) if stay),
            origin=Origin(self.name),
        )
        return with_silence(
            points,
            clip,
            weights=FITTED_BOUNDARY,
            logits=window_silence(heard, time_base),
            levels_db=heard.cells_dbfs + level.gain_db,
        )

    def hear(self, sound: Sound, duration_s: float, *, level: Level | None = None) -> Heard:
        """The network's logits for the first ``duration_s`` seconds, stretch by stretch."""
        import torch

        from ..audio.log_mel import NUM_MELS
        from .boundary_net import FRAMES_PER_S, band_levels, within_reach

        level = level_of(sound) if level is None else level
        net = self._loaded()
        total = max(1, int(np.ceil(duration_s * FRAMES_PER_S - 1e-6)))
        rows, levels = [], []
        with torch.inference_mode():
            for start, stop, first, last in stretches(total):
                bands = band_levels(sound, start=first, stop=last, gain_db=-level.loudest_dbfs)
                logits = net(torch.from_numpy(within_reach(bands))[None].to(self.device))[0].cpu().numpy()
                rows.append(logits[start - first : stop - first])
                powers = 10 ** (bands[start - first : stop - first, :NUM_MELS] / 10)
                levels.append(10 * np.log10(powers.sum(axis=1)) + level.loudest_dbfs)
        change, silence = np.concatenate(rows).T.astype(np.float64)
        scale, shift = net.calibration[int(self._yamnet is not None)].tolist()
        if self._yamnet is not None:
            change = self._with_yamnet(net, sound, change)
        return Heard(change, silence, np.concatenate(levels), (scale, shift))

    def _with_yamnet(self, net: BoundaryNet, sound: Sound, change: np.ndarray) -> np.ndarray:
        """``(n,)`` better logits of a change."""
        import torch

        from ..audio.yamnet import YamNet
        from .boundary_ear import heard_contrasts
        from .boundary_net import FRAMES_PER_S

        if isinstance(self._yamnet, Path):
            self._yamnet = YamNet.load(self._yamnet, device=self.device)
        assert isinstance(self._yamnet, YamNet)
        better = []
        for start, stop, first, last in stretches(len(change)):
            contrasts = heard_contrasts(self._yamnet, sound, first=first, last=last, frames_per_s=FRAMES_PER_S)
            with torch.inference_mode():
                told = torch.from_numpy(change[first:last].astype(np.float32))[None].to(self.device)
                found = net.ear(told, torch.from_numpy(contrasts)[None].to(self.device))[0].cpu().numpy()
            better.append(found[start - first : stop - first])
        return np.concatenate(better).astype(np.float64)

    def _fine(self, heard: Heard, sound: Sound, time_base: TimeBase) -> tuple[list[float], np.ndarray]:
        """Times of changes, for windows that are short, and ``(T,)`` the probability of a change around each frame."""
        peaks, around = change_peaks(heard, threshold=self.threshold)
        from .boundary_net import FRAMES_PER_S

        # The network is right to about a twentieth of a second; from there the spectrum tells to a hundredth.
        times_s = [refined_s(sound, round(time_s * CELLS_PER_S)) for time_s in peaks.tolist()]
        near = [
            found if abs(found - time_s) <= 2 * PEAK_S else time_s
            for found, time_s in zip(times_s, peaks.tolist(), strict=True)
        ]
        frame = np.minimum((time_base.sound_window_s.mean(axis=1) * FRAMES_PER_S).astype(int), len(around) - 1)
        flags, chances = time_base.flags_of_changes(near), around[frame]
        # Of an unflagged frame it is asked whether the change is its own: next to a flagged one it is not.
        return near, np.where(flags, chances, np.where(chances > self.threshold, 0, chances))

    def _loaded(self) -> BoundaryNet:
        if self._net is None:
            from ..weights.checkpoint import read_state_dict
            from ..weights.device import choose_device
            from .boundary_net import BoundaryNet

            state = read_state_dict(self.weights)
            self._net = BoundaryNet.from_state(state, what=f"'{self.weights}'").to(choose_device(self.device))
        return self._net


def stretches(total: int) -> Iterator[tuple[int, int, int, int]]:
    """``start, stop, first, last``: frames that are answered for, and those that are heard for it."""
    from .boundary_net import FRAMES_PER_S

    length, context = round(STRETCH_S * FRAMES_PER_S), round(CONTEXT_S * FRAMES_PER_S)
    for start in range(0, total, length):
        stop = min(start + length, total)
        yield start, stop, max(0, start - context), min(total, stop + context)


def window_chances(heard: Heard, time_base: TimeBase) -> np.ndarray:
    """``(T,)``: how probably the set changes between the midpoint of a frame's window and that of the one before.

    Odds of the frames between add up. The first frame always begins one.
    """
    from .boundary_net import FRAMES_PER_S

    middles = np.rint(time_base.sound_window_s.mean(axis=1) * FRAMES_PER_S).astype(int).clip(0, len(heard.change) - 1)
    odds = np.append(0.0, np.cumsum(np.exp(np.minimum(heard.change, 50))))
    return np.append(1.0, heard.chance(odds[middles[1:] + 1] - odds[middles[:-1] + 1]))


def window_silence(heard: Heard, time_base: TimeBase) -> np.ndarray:
    """``(T,)``: the mean logit of silence in each frame's window."""
    from .boundary_net import FRAMES_PER_S

    logits = heard.silence.clip(-MAX_LOGIT, MAX_LOGIT)
    first, stop = np.rint(time_base.sound_window_s * FRAMES_PER_S).astype(int).clip(0, len(logits)).T
    first = np.minimum(first, len(logits) - 1)
    sums = np.append(0.0, np.cumsum(logits))
    stop = np.maximum(stop, first + 1)
    return np.asarray((sums[stop] - sums[first]) / (stop - first))


def change_peaks(heard: Heard, *, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the changes, and ``(n,)`` how probably one lies within ``PEAK_S`` of each frame.

    The most probable moment first, then the most probable one that is far enough from it, and so on; a moment is the
    mean of the frames around it, by their odds.
    """
    from .boundary_net import FRAMES_PER_S

    reach = round(PEAK_S * FRAMES_PER_S)
    odds = np.exp(np.minimum(heard.change, 50))
    sums = np.append(0.0, np.cumsum(odds))
    here = np.arange(len(odds))
    around = sums[np.minimum(here + reach + 1, len(odds))] - sums[np.maximum(here - reach, 0)]
    chances = heard.chance(around)
    left, times = chances.copy(), []
    left[:1] = 0
    while left.max(initial=0) > threshold:
        top = int(np.flatnonzero(left == left.max()).mean())
        piece = slice(max(0, top - reach), top + reach + 1)
        times.append(float((here[piece] * odds[piece]).sum() / odds[piece].sum()) / FRAMES_PER_S)
        left[max(0, top - 2 * reach) : top + 2 * reach + 1] = 0
    return np.sort(np.array(times)), chances


def silent_segments(heard: Heard, flags: np.ndarray, time_base: TimeBase) -> list[bool]:
    """Whether each segment is silent: by the mean probability of its frames. The one of the loudest moment never is."""
    from .boundary_net import FRAMES_PER_S

    chances = 1 / (1 + np.exp(-heard.silence.clip(-50, 50)))
    loudest = int(heard.level_dbfs.argmax())
    edges_s = np.append(time_base.sound_window_s[flags, 0], time_base.duration_s)
    edges = np.rint(edges_s * FRAMES_PER_S).astype(int)
    edges[-1] = max(edges[-1], len(chances))
    pieces = [slice(min(a, len(chances) - 1), max(a + 1, b)) for a, b in pairwise(edges.tolist())]
    return [bool(chances[piece].mean() > 0.5) and not piece.start <= loudest < piece.stop for piece in pieces]
