"""What a video backend gives: a probed stream that can be pickled, and decoders that it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ..errors import MediaError, unknown_name
from .timeline import Timeline

Backend = Literal["auto", "decord", "av"]


class Decoder(Protocol):
    """An open file. Not safe across threads or a fork."""

    def frame(self, index: int) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB; cheap where indices increase, else it seeks.

        Raises:
            MediaError: the frame cannot be decoded; the message says at which second.
        """
        ...


class VideoStream(Protocol):
    """What is known of a video without holding it open.

    Attributes:
        path: absolute.
        timeline: of its frames.
        start_s: when frame 0 is shown on the container's own clock, which the sound shares.
        size: height and width in pixels, as shown (rotation applied).
        notes: what probing found worth telling.
    """

    @property
    def path(self) -> Path: ...
    @property
    def timeline(self) -> Timeline: ...
    @property
    def start_s(self) -> float: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    def open(self) -> Decoder: ...


def probe(path: Path, family: str, *, backend: Backend = "auto") -> VideoStream:
    """Look at a sniffed video file with one of the backends.

    ``auto`` takes PyAV, and decord only where PyAV is not installed: both give the same frames, but only PyAV can be
    told which container format to expect and which of several video streams to take, tells where a cut-off file ends,
    and reads the sound (decord's loses its start, its channels or its end without a word).

    Raises:
        MediaError: an unknown backend, one that is not installed, or a file that cannot be read as a whole.
    """
    if backend not in ("auto", "decord", "av"):
        raise unknown_name("video backend", backend, ("auto", "decord", "av"))
    if backend != "decord":
        try:
            from .backend_av import probe as probe_av

            return probe_av(path, family)
        except ImportError as error:
            if backend == "av":
                raise MediaError(
                    "the video backend 'av' is not installed; pip install av, or say backend='auto'."
                ) from error
    try:
        from .backend_decord import probe as probe_decord
    except ImportError as error:
        raise MediaError("no video backend is installed here; install PyAV: pip install av") from error
    return probe_decord(path, family)
