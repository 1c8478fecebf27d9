"""Sound of a video (by PyAV) or an audio file (by soundfile): mono, native rate, placed in time."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from ..errors import MediaError
from ..structures import Sound
from .canvas import Canvas, Track, check_form
from .counts import counted
from .sniff import AUDIO_FAMILIES, VIDEO_FAMILIES, sniff
from .timeline import MAX_DURATION_S
from .whole import missing_bytes

_BLOCK_SAMPLES = 1 << 16


def read_sound(path: str | os.PathLike[str]) -> Sound:
    """All the sound of a file, mono (the channel mean, or where channels cancel the louder one) at its native rate.

    In a video, sample 0 is at the time of its first frame: sound before it is left out, a late start is zeros.
    Long sound is a memory map of a temporary file: slice it.

    Raises:
        MediaError: no audio stream, a cut-off or damaged file, or no container that is read here.
    """
    return read_track(path).sound


def read_track(
    path: str | os.PathLike[str], *, origin_s: float | None = None, duration_s: float | None = None
) -> Track:
    """The sound of a file, and what was padded or left out.

    Args:
        path: a video or audio file.
        origin_s: the time on a video's own clock that becomes 0 s; by default that of its first frame.
        duration_s: longer sound is cut here, shorter sound padded with zeros; by default all of it is read.

    Raises:
        MediaError: as :func:`read_sound`.
    """
    family, file = sniff(path), Path(path).absolute()
    if family in AUDIO_FAMILIES:
        return _read_file(file, family, duration_s)
    if family not in VIDEO_FAMILIES:
        raise MediaError(f"{path}: is {family}, which holds no sound; give a wav, flac, mp3, ogg or video file.")
    try:
        # decord could read sound too, but it loses late starts, channels and the end of damaged files without a word.
        from .sound_av import read_stream
    except ImportError as error:
        raise MediaError(
            f"{path}: the sound inside a video is read by PyAV, which is not installed: pip install av "
            "(or give the sound as a file with audio=)."
        ) from error
    return read_stream(file, family, origin_s=origin_s, duration_s=duration_s)


def _read_file(path: Path, family: str, duration_s: float | None) -> Track:
    source = counted(path, family)
    if not source.patches and (missing := missing_bytes(path, family)):
        raise MediaError(f"{path}: is cut off: {missing} of the announced bytes are missing. Copy or write it again.")
    try:
        with source.open() as opened, soundfile.SoundFile(opened) as file:
            rate_hz, announced = file.samplerate, len(file)
            check_form(path, rate_hz, file.channels)
            if announced > MAX_DURATION_S * rate_hz:
                raise MediaError(f"{path}: announces {announced / rate_hz:.0f} s of sound; at most 24 h are read.")
            wanted = announced if duration_s is None else round(duration_s * rate_hz)
            canvas = _filled(file, path, wanted)
            if (channel := canvas.channels.cancelled()) is not None:
                file.seek(0)
                canvas = _filled(file, path, wanted, channel=channel)
    except soundfile.LibsndfileError as error:
        raise MediaError(f"{path}: cannot be read as {family} ({error.error_string}). Write it again.") from error
    if canvas.end < min(announced, wanted):
        raise MediaError(
            f"{path}: is cut off or damaged: its sound ends at {canvas.end / rate_hz:.2f} s of "
            f"{announced / rate_hz:.2f} s. Copy or write it again."
        )
    track = canvas.track(ends_s=announced / rate_hz, padded=duration_s is not None)
    return Track(track.sound, (*source.notes, *track.notes))


def _filled(file: soundfile.SoundFile, path: Path, wanted: int, *, channel: int | None = None) -> Canvas:
    """The first ``wanted`` samples from where the file stands."""
    canvas = Canvas(path, rate_hz=file.samplerate, num_samples=wanted, channel=channel)
    for block in file.blocks(_BLOCK_SAMPLES, dtype="float32", always_2d=True):
        canvas.place(canvas.end, block)
        if canvas.end >= wanted:
            break
    return canvas
