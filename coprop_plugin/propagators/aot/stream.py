"""Propagation as the frames come: no clip, no look-ahead, memory that stays the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from ...errors import CoPropError
from ..audio_insert import AudioTokens
from .engine import Engine
from .frames import FrameEncoder
from .lockstep import LockStep
from .preprocess import most_likely, nearest
from .runs import Anchor


class Stream:
    """One segment from its anchor on; begin a new stream at every control point.

    Made by ``AOT.stream(frame, mask)``. The masks are those that the whole-clip call gives.
    """

    def __init__(
        self,
        engine: Engine,
        encoder: FrameEncoder,
        context: Callable[[], AbstractContextManager[None]],
        *,
        frame: np.ndarray,
        mask: np.ndarray,
        audio: np.ndarray | None,
    ) -> None:
        self._encoder, self._context, self._frame_shape = encoder, context, frame.shape
        self._network_size = encoder.network_size(frame.shape[:2])
        self._anchor = Anchor.of(mask, frame.shape[:2])
        self._lockstep: LockStep | None = None
        if len(self._anchor.objects):
            with context():
                labels = nearest(self._anchor.labels[None], self._network_size).to(encoder.device)
                features = encoder.encode([frame], _tokens(audio))
                self._lockstep = LockStep(engine, features, labels, [len(self._anchor.objects)])

    def step(self, frame: np.ndarray, audio: np.ndarray | None = None) -> np.ndarray:
        """``(K+1, H, W) float32``: the probabilities of the next frame, at the anchor mask's size.

        Args:
            frame: ``(H, W, 3) uint8``, of the anchor frame's size.
            audio: ``(D,)`` features of this frame, if the network has an audio insert; with an audio context
                ``(2k+1, D)``, this frame in the middle, rows of NaN for frames outside the segment.

        Raises:
            CoPropError: a frame of another size, or audio that does not fit the insert.
        """
        if frame.shape != self._frame_shape:
            raise CoPropError(
                f"this frame is {frame.shape}, the stream began with {self._frame_shape}: its memory is of that size. "
                "Resize the frame, or begin a new stream."
            )
        if self._lockstep is None:
            return self._anchor.mask.copy()
        with self._context():
            self._lockstep.step(self._encoder.encode([frame], _tokens(audio)))
            told = self._encoder.label_size(frame.shape[:2])
            probability = self._lockstep.probability(told)
            self._lockstep.feed(nearest(most_likely(probability), self._network_size))
            if self._anchor.size != told:
                probability = self._lockstep.probability(self._anchor.size)
            return self._anchor.spread(probability[0].cpu().numpy())

    @property
    def memory_bytes(self) -> int:
        """Bytes that the stream remembers; bounded by the propagator's ``max_memory_frames``."""
        return self._lockstep.memory_bytes if self._lockstep else 0


def _tokens(audio: np.ndarray | None) -> AudioTokens | None:
    """One frame's features as tokens; those that hold NaN do not exist."""
    if audio is None:
        return None
    rows = torch.from_numpy(np.atleast_2d(np.asarray(audio, np.float32)))
    valid = rows.isfinite().all(dim=1)
    if len(rows) % 2 == 0 or not valid[len(rows) // 2]:
        raise CoPropError(
            f"the audio of a frame is (D,) or (2k+1, D) features with the frame's own, finite, in the middle; got "
            f"{tuple(rows.shape)}, finite {valid.tolist()}."
        )
    rows = rows.where(valid[:, None], 0)[None]
    return AudioTokens(rows, valid[None], rows[:, rows.shape[1] // 2])
