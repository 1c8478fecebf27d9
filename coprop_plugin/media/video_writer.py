"""Overlays as mp4: h264 and aac by PyAV, playable everywhere, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from ..files import atomic_write
from ..structures import Sound

CRF = 20  # visually near the source
PRESET = "veryfast"  # a third of the time of x264's own choice, for files a little larger
LOWEST_RATE_HZ = 10  # players stumble over fewer frames a second: each is repeated until there are as many
SOUND_BITS_PER_S = 160_000
FALLBACK_RATE_HZ = 48000  # for sound at a rate that aac does not have
_BT601 = 6  # the matrix that RGB is converted by; unnamed, players guess another one for large frames
_BLOCK_SAMPLES = 1 << 16


def write_video(
    path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, rate_hz: Fraction, sound: Sound | None
) -> None:
    """Write frames and sound as mp4, one frame held at a time; the file appears only when it is whole.

    Frame k is shown from k/rate_hz on (slow rates by repeating frames); odd sizes get one more row or column. The
    sound is cut where the pictures end, and keeps its rate where aac has it.

    Args:
        path: the ``.mp4`` file to write.
        frames: ``(H, W, 3) uint8`` RGB, all of one size, at least one.
        rate_hz: frames a second, exact.
        sound: what is heard from 0 s on, or nothing.

    Raises:
        MediaError: no frames, or frames of another form than the first.
        OSError: what the file system said (a full disk); the old file is whole.
    """
    rate_hz = Fraction(rate_hz)
    if rate_hz <= 0:
        raise MediaError(f"{path}: the rate of a video is positive, got {rate_hz} Hz.")
    pictures = _checked(path, frames)
    first = next(pictures, None)
    if first is None:
        raise MediaError(f"{path}: a video needs at least one frame, got none.")
    with atomic_write(path) as file:
        container = av.open(file, "w", format="mp4")
        try:
            _write(container, first, pictures, rate_hz, sound)
        except BaseException:
            with suppress(Exception):  # closing writes too, and fails for the same reason
                container.close()
            raise
        container.close()


def _write(
    container: Any, first: np.ndarray, others: Iterator[np.ndarray], rate_hz: Fraction, sound: Sound | None
) -> None:
    repeats = max(1, -(-LOWEST_RATE_HZ // rate_hz))
    shown = _PictureTrack(container, rate_hz * repeats, first.shape)
    heard = _SoundTrack(container, sound) if sound is not None else None
    for k, frame in enumerate(chain([first], others)):
        shown.write(frame, repeats)
        if heard is not None:
            heard.write_until(float((k + 1) / rate_hz))
    shown.close()
    if heard is not None:
        heard.close()


def _checked(path: str | os.PathLike[str], frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] | None = None
    for k, frame in enumerate(frames):
        array = np.asarray(frame)
        form = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
        if not form or array.shape != (shape or array.shape):
            raise MediaError(
                f"{path}: frame {k} is {array.dtype} {array.shape}; frames are (H, W, 3) uint8 RGB, all of one size"
                + (f" {shape}." if shape else ".")
            )
        shape = array.shape
        yield array


class _PictureTrack:
    def __init__(self, container: Any, rate_hz: Fraction, shape: tuple[int, ...]) -> None:
        height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2  # yuv420p halves both
        self._pad = ((0, height - shape[0]), (0, width - shape[1]), (0, 0))
        self._container, self._time_base, self._next = container, 1 / rate_hz, 0
        self._converter = VideoReformatter()
        self._stream = container.add_stream("libx264", rate=rate_hz, options={"crf": str(CRF), "preset": PRESET})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.colorspace = _BT601
        self._stream.codec_context.time_base = self._time_base

    def write(self, picture: np.ndarray, repeats: int) -> None:
        padded = np.pad(picture, self._pad, mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = self._converter.reformat(frame, format="yuv420p", threads=1)
        for _ in range(repeats):
            frame.pts, frame.time_base = self._next, self._time_base
            self._next += 1
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))


class _SoundTrack:
    """Mono aac, written alongside the pictures so that neither waits in memory for the other."""

    def __init__(self, container: Any, sound: Sound) -> None:
        rates_hz = av.Codec("aac", "w").audio_rates or [FALLBACK_RATE_HZ]
        rate_hz = sound.rate_hz if sound.rate_hz in rates_hz else FALLBACK_RATE_HZ
        self._container, self._sound, self._next = container, sound, 0
        # The encoder's default (70 kbit/s, two-loop search) drops out on plain tones; the fast search does not.
        self._stream = container.add_stream("aac", rate=rate_hz, layout="mono", options={"aac_coder": "fast"})
        self._stream.bit_rate = SOUND_BITS_PER_S
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)

    def write_until(self, stop_s: float) -> None:
        stop = min(round(stop_s * self._sound.rate_hz), len(self._sound.samples))
        for start in range(self._next, stop, _BLOCK_SAMPLES):
            block = self._sound.samples[start : min(start + _BLOCK_SAMPLES, stop)]
            frame = av.AudioFrame.from_ndarray(np.array(block, np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self._sound.rate_hz, start
            frame.time_base = Fraction(1, self._sound.rate_hz)
            self._encode(self._resampler.resample(frame))
        self._next = max(self._next, stop)

    def close(self) -> None:
        self._encode(self._resampler.resample(None))
        self._container.mux(self._stream.encode(None))

    def _encode(self, frames: Iterable[Any]) -> None:
        packets: Iterator[Any] = (packet for frame in frames for packet in self._stream.encode(frame))
        self._container.mux(list(packets))
