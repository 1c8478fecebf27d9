"""The first audio stream of a video, each decoded block placed by its own time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import MediaError
from .backend_av import probe
from .canvas import Canvas, NoSoundError, Track, check_form
from .packets import PacketTable, open_container, video_streams
from .timeline import MAX_DURATION_S
from .whole import missing_bytes

# Containers round the times of sound (Matroska to 1 ms), so smaller steps between blocks are rounding, no gaps.
GAP_S = 5e-3
_MAX_CHANNELS = 8  # PyAV cannot read the planes of more
_SPARE_S = 0.1  # room for an end that the packets tell roughly


def read_stream(path: Path, family: str, *, origin_s: float | None, duration_s: float | None) -> Track:
    """Sound of a sniffed video file; see :func:`coprop_plugin.media.sound.read_track`."""
    with open_container(path, family) as container:
        streams = container.streams.audio
        if not streams:
            if missing := missing_bytes(path, family):  # the index may be cut before it comes to the sound
                raise MediaError(
                    f"{path}: is cut off: {missing} of the announced bytes are missing, and with them what it tells of its "
                    "sound. Copy or download it again."
                )
            raise NoSoundError(
                f"{path}: holds no audio stream. Give its sound as a file with audio=FILE, or treat it as silence with "
                "silent_ok=True (--silent-ok on the command line)."
            )
        stream = streams[0]
        packets = PacketTable.read(path, container, stream)
        notes = packets.check_whole(path, family, container, stream)
        if len(streams) > 1:
            notes = (*notes, f"{len(streams)} audio streams; the first one is read")
        if origin_s is None:
            origin_s = probe(path, family).start_s if video_streams(container) else 0.0
        end, last = int(packets.pts[-1] + packets.durations[-1]), int(packets.durations[-1])
        tick = stream.time_base
    ends_s = float(end * tick) - origin_s
    if ends_s > MAX_DURATION_S:
        raise MediaError(f"{path}: announces {ends_s:.0f} s of sound; at most {MAX_DURATION_S} s (24 h) are read.")
    length_s = max(ends_s + _SPARE_S, 0.0) if duration_s is None else duration_s
    canvas = _decode(path, family, origin_s=origin_s, length_s=length_s)
    if (channel := canvas.channels.cancelled()) is not None:
        canvas = _decode(path, family, origin_s=origin_s, length_s=length_s, channel=channel)
    if last and tick * canvas.rate_hz <= 1:
        canvas.trim(round(ends_s * canvas.rate_hz))  # the encoder filled up its last block; its packet tells
    if canvas.end < len(canvas.samples):
        ends_s = canvas.end / canvas.rate_hz  # all was decoded: samples tell the end better than a coarse clock
    track = canvas.track(ends_s=ends_s, padded=duration_s is not None)
    return Track(track.sound, (*notes, *track.notes))


def _decode(path: Path, family: str, *, origin_s: float, length_s: float, channel: int | None = None) -> Canvas:
    canvas: Canvas | None = None
    with open_container(path, family) as container:
        stream = container.streams.audio[0]
        try:
            for frame in container.decode(stream):
                rate_hz = frame.sample_rate  # the decoder's: the container's is half of it for HE-AAC
                check_form(path, rate_hz, frame.layout.nb_channels, most_channels=_MAX_CHANNELS)
                if canvas is None:
                    num_samples = round(length_s * rate_hz)
                    canvas = Canvas(path, rate_hz=rate_hz, num_samples=num_samples, channel=channel)
                if rate_hz != canvas.rate_hz:
                    raise MediaError(
                        f"{path}: its sample rate changes from {canvas.rate_hz} to {rate_hz} Hz at "
                        f"{canvas.end / canvas.rate_hz:.2f} s. Re-encode it: ffmpeg -i INPUT -c:v copy -c:a aac OUTPUT.mp4"
                    )
                canvas.place(_start_sample(frame, stream, canvas, origin_s), _channels(frame, path))
                if canvas.end >= len(canvas.samples):
                    break
        except av.FFmpegError as error:
            at_s = canvas.end / canvas.rate_hz if canvas else 0.0
            raise MediaError(
                f"{path}: its sound is damaged at {at_s:.2f} s ({error}). Copy or download it again, or mend it: "
                "ffmpeg -i INPUT -c:v copy -c:a aac OUTPUT.mp4"
            ) from error
    if canvas is None:
        raise MediaError(f"{path}: its audio stream holds no samples. Give the sound with audio=FILE.")
    return canvas


def _start_sample(frame: Any, stream: Any, canvas: Canvas, origin_s: float) -> int:
    """Where a block belongs: right behind the one before it unless its time says that there is a gap."""
    if frame.pts is None:
        return canvas.end
    time_s = float(frame.pts * frame.time_base) - origin_s
    start = round(time_s * canvas.rate_hz)
    if canvas.first is None:
        # A time base coarser than the samples (Matroska) cannot tell such a start from 0.
        coarse = stream.time_base * canvas.rate_hz > 1
        return 0 if coarse and abs(time_s) <= stream.time_base else start
    return canvas.end if abs(start - canvas.end) <= GAP_S * canvas.rate_hz else start


def _channels(frame: Any, path: Path) -> np.ndarray:
    """``(n, C)`` floats: the channels; integers are scaled to [-1, 1)."""
    try:
        samples = frame.to_ndarray()
    except ValueError as error:
        raise MediaError(
            f"{path}: its sound ({frame.layout.name}, {frame.format.name}) cannot be unpacked ({error}). Re-encode it: "
            "ffmpeg -i INPUT -c:v copy -c:a aac OUTPUT.mp4"
        ) from error
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples / np.float64(2 ** (8 * samples.dtype.itemsize - 1))
    return np.asarray(samples.T)
