"""Small videos whose frames carry their own number, written by PyAV, for tests of reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, product
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH = 48, 96
BITS, CELL = 12, 16  # six cells of 16 px a row, two rows


def numbered(k: int, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """``(H, W, 3) uint8``: k in black and white cells, a colour that drifts with k below them."""
    frame = np.empty((*size, 3), np.uint8)
    frame[:] = (40 + 3 * k % 160, 200 - 2 * k % 150, 90)
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255 * (k >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    cells = frame[: 2 * CELL, : 6 * CELL].mean(axis=2).reshape(2, CELL, 6, CELL)[:, 4:12, :, 4:12].mean(axis=(1, 3))
    return sum(int(cell > 128) << bit for bit, cell in enumerate(cells.reshape(-1)))


def write_clip(
    path: Path,
    *,
    num_frames: int = 50,
    repeat: int = 1,
    rate: Fraction | int = 25,
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    streams: int = 1,
    sounds: Sequence[np.ndarray] = (),
    sound_rate_hz: int = 44100,
    sound_codec: str = "aac",
    sound_start_s: float = 0.0,
    sound_gap_s: tuple[float, float] = (0.0, 0.0),
    start_s: Fraction = Fraction(0),
    drop_packets: int = 0,
    title: str = "",
    container_options: dict[str, str] | None = None,
) -> Path:
    """A clip of numbered frames.

    Args:
        repeat: show all frames this many times over (encoded once; closed groups of pictures).
        times: when each frame is shown, for a variable rate (in milliseconds or coarser).
        streams: video streams; the frames of stream i are numbered from 1000 i and 32 i px wider and higher.
        sounds: ``(N,)`` or ``(N, channels)`` float32, one for each audio stream.
        sound_start_s: time of the first sample.
        sound_gap_s: packets of sound that begin in here are left out.
        start_s: moves everything; below 0 an mp4 gets an edit list that leaves out what lies before 0.
        drop_packets: leave out this many packets at the start, as when a file is cut between keyframes.
    """
    container_options = {**({"avoid_negative_ts": "disabled"} if start_s < 0 else {}), **(container_options or {})}
    with av.open(str(path), "w", options=container_options) as container:
        container.metadata["title"] = title
        videos = []
        for i in range(streams):
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width, stream.pix_fmt = size[0] + 32 * i, size[1] + 32 * i, pix_fmt
            stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / Fraction(rate)
            videos.append(stream)
        tracks = [_sound_track(container, sound, sound_rate_hz, sound_codec) for sound in sounds]
        packets = chain.from_iterable(
            [_pictures(stream, i, num_frames, times) for i, stream in enumerate(videos)]
            + [
                _samples(stream, sound, sound_rate_hz, sound_start_s)
                for stream, sound in zip(tracks, sounds, strict=True)
            ]
        )
        packets = sorted(packets, key=lambda p: p.dts * p.time_base)[drop_packets:]
        for again, packet in product(range(repeat), packets):
            if packet.stream.type == "audio" and sound_gap_s[0] <= packet.pts * packet.time_base < sound_gap_s[1]:
                continue
            shift = round((start_s + again * num_frames / Fraction(rate)) / packet.time_base)
            stamped = av.Packet(bytes(packet)) if repeat > 1 else packet
            stamped.stream, stamped.time_base, stamped.duration = packet.stream, packet.time_base, packet.duration
            stamped.pts, stamped.dts, stamped.is_keyframe = packet.pts + shift, packet.dts + shift, packet.is_keyframe
            container.mux(stamped)
    return path


def _pictures(stream, i: int, num_frames: int, times: Sequence[Fraction] | None) -> Iterator[av.Packet]:
    time_base = stream.codec_context.time_base
    for k in range(num_frames):
        picture = numbered(k + 1000 * i, size=(stream.height, stream.width))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
        frame.time_base = time_base
        frame.pts = int(times[k] / time_base) if times else k
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound_track(container, sound: np.ndarray, rate_hz: int, codec: str):
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    return container.add_stream(codec, rate=rate_hz, layout={1: "mono", 2: "stereo"}[channels])


def _samples(stream, sound: np.ndarray, rate_hz: int, start_s: float) -> Iterator[av.Packet]:
    planes = np.ascontiguousarray(sound.reshape(len(sound), -1).T, np.float32)
    layout = "mono" if len(planes) == 1 else "stereo"
    resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz)
    for at in range(0, planes.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(planes[:, at : at + 1024]), format="fltp", layout=layout
        )
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = at + round(start_s * rate_hz)
        for piece in resampler.resample(frame):
            yield from stream.encode(piece)
    yield from stream.encode(None)


def tone(duration_s: float, *, rate_hz: int = 44100, hz: float = 440.0) -> np.ndarray:
    """``(N,) float32``: a sine of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(np.float32)
