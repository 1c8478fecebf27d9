"""Frames as they come, to the features that the engine reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...errors import CoPropError
from ...structures import Clip
from ..audio_insert import AudioTokens
from .encoders import Maps
from .network import AOTNetwork, Features
from .preprocess import network_size, resize_frame, to_input
from .runs import Run
from .seen import KEPT_BYTES, FrameOf, SeenFrames

# Pixels that are encoded at once: more fill the device better and take more memory.
ENCODE_PX = {"cpu": 1 << 18, "cuda": 1 << 25}


class FrameEncoder:
    """Resizes, normalises and encodes frames, many at once: they do not depend on each other.

    Args:
        network: on its device, in inference form.
        max_side_px: longer frames are shrunk to it.
        short_side_px: what the shorter side is made, of small frames too, as far as the longer one allows; ``None``: as it comes.
    """

    def __init__(self, network: AOTNetwork, *, max_side_px: int, short_side_px: int | None = None) -> None:
        self._network, self._max_side_px, self._short_side_px = network, max_side_px, short_side_px
        self.device = network.encoder_projector.weight.device
        self._seen = SeenFrames(self._look, max_bytes=KEPT_BYTES.get(self.device.type, KEPT_BYTES["cpu"]))

    def network_size(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """The network's input size for frames of a size."""
        return network_size(
            *frame_size,
            align_corners=self._network.config.align_corners,
            max_side_px=self._max_side_px,
            max_short_side_px=self._short_side_px,
            enlarge=self._short_side_px is not None,
        )

    def label_size(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """Where answers become the labels that are remembered: as published at the frames' size, else at the network's."""
        return frame_size if self._short_side_px is None else self.network_size(frame_size)

    def encode(self, frames: Sequence[np.ndarray], audio: AudioTokens | None = None) -> Features:
        """The features of ``(H, W, 3) uint8`` frames of one size.

        Raises:
            CoPropError: audio that the network does not take, or no audio where it does.
        """
        return self._hear(self._maps(frames), audio)

    def steps(self, runs: Sequence[Run]) -> Iterator[Features]:
        """The features of each step's frames, of all runs that still go on; the longest run comes first.

        Several steps of few runs are encoded together, one step of many runs in several parts.
        """
        size = runs[0].clip.size
        limit = max(1, ENCODE_PX.get(self.device.type, ENCODE_PX["cpu"]) // int(np.prod(self.network_size(size))))
        step = 0
        while step < len(runs[0]):
            last = min(len(runs[0]), step + max(1, limit // num_active(runs, step)))
            counts = [num_active(runs, s) for s in range(step, last)]
            wanted = [(run, s) for s, count in zip(range(step, last), counts, strict=True) for run in runs[:count]]
            features = Features.join([self._encode(wanted[i : i + limit]) for i in range(0, len(wanted), limit)])
            for count, end in zip(counts, np.cumsum(counts).tolist(), strict=True):
                yield features.rows(slice(end - count, end))
            step = last

    def _check(self, audio: AudioTokens | None) -> None:
        insert = self._network.audio_insert
        wanted, given = insert.audio_dim if insert else 0, audio.tokens.shape[2] if audio else 0
        if given != wanted:
            raise CoPropError(
                f"the checkpoint's audio insert takes {wanted} features a frame, got {given}."
                if insert
                else f"the checkpoint holds no audio insert and would not hear these {given} features; leave audio out."
            )

    def _encode(self, wanted: Sequence[tuple[Run, int]]) -> Features:
        maps = self._seen.maps([(run.clip, run.frames[step]) for run, step in wanted])
        audio = [tokens for run, step in wanted if (tokens := run.audio_at(step)) is not None]
        return self._hear(maps, AudioTokens.join(audio) if audio else None)

    def _look(self, wanted: Sequence[FrameOf]) -> Maps:
        return self._maps([_frame(clip, index) for clip, index in wanted])

    def _maps(self, frames: Sequence[np.ndarray]) -> Maps:
        size = self.network_size(frames[0].shape[:2])
        return self._network.look(to_input([resize_frame(frame, size) for frame in frames], self.device))

    def _hear(self, maps: Maps, audio: AudioTokens | None) -> Features:
        self._check(audio)
        return self._network.hear(maps, audio.to(self.device) if audio else None)


def num_active(runs: Sequence[Run], step: int) -> int:
    """How many of the runs, sorted by falling length, have a frame at this step."""
    return sum(len(run) > step for run in runs)


def _frame(clip: Clip, index: int) -> np.ndarray:
    """A frame of a clip, if it is what the clip promised."""
    frame = np.asarray(clip.frames[index])
    if frame.shape != (*clip.size, 3) or frame.dtype != np.uint8:
        raise CoPropError(
            f"clip '{clip.clip_id}': frame {index} is {frame.dtype} {frame.shape}, expected uint8 "
            f"{(*clip.size, 3)}; all frames of a clip have one size."
        )
    return frame
