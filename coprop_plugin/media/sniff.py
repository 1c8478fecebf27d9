"""What a file is by its first bytes, before any decoder opens it.

Decoders guess the format themselves, and some guesses are dangerous: a playlist named ``x.mp4`` makes ffmpeg (and so
decord and PyAV) read the files that it lists, a name like ``concat:…`` or ``http://…`` makes it read elsewhere. So
only regular files that begin like one of the containers below go on, by their absolute path.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..errors import MediaError

VIDEO_FAMILIES = ("mp4", "matroska", "avi")
AUDIO_FAMILIES = ("wav", "flac", "mp3", "ogg")
IMAGE_FAMILIES = ("png", "jpeg")

_HEAD_BYTES = 4096
_MAX_FTYP_BYTES = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml", b"<MPD", b"<smil", b"v=0", b"file ")
_MP3_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1, layer III
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5, layer III
}


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of an existing regular file.

    Absolute, because a relative name may look like a protocol to a decoder.

    Raises:
        MediaError: a URL, nothing there, or something that is not a file (a folder, pipe or device).
    """
    text = os.fspath(path)
    try:
        found = Path(text).stat()
    except (OSError, ValueError) as error:
        if _URL.match(text):
            raise MediaError(f"'{text}' is a URL; only files of this machine are read. Download it first.") from None
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MediaError(f"{text}: cannot be read ({reason}). Check the path.") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise MediaError(f"{text}: is {what}; a media file is a regular file.")
    return Path(text).absolute()


def sniff(path: str | os.PathLike[str]) -> str:
    """The container family of a file: one of VIDEO_FAMILIES, AUDIO_FAMILIES or IMAGE_FAMILIES.

    Raises:
        MediaError: a URL, a playlist, not a regular file, empty, or bytes of no known container.
    """
    return sniffed(path)[0]


def sniffed(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    """The family of a file, and the first 4096 bytes that tell it; raises as :func:`sniff`."""
    file = regular_file(path)
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    if not head:
        raise MediaError(f"{path}: is empty (0 bytes); nothing was saved or downloaded here.")
    if family := _family(head):
        return family, head
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(_PLAYLISTS):
        raise MediaError(
            f"{path}: is a playlist or manifest (it begins with {start[:12]!r}), not a media file. A playlist can point "
            "at any other file and is never followed; give the media file itself."
        )
    raise MediaError(
        f"{path}: begins with {head[:12]!r}, which is no container that is read here. Allowed: video in "
        "mp4/mov, mkv/webm, avi; sound in wav, flac, mp3, ogg; pictures in png, jpeg. Convert it, as with: "
        "ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"
    )


def _family(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return "mp4" if 16 <= int.from_bytes(head[:4], "big") <= _MAX_FTYP_BYTES else None
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska" if _is_matroska(head) else None
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])
    for magic, family in (
        (b"fLaC", "flac"),
        (b"OggS\0", "ogg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
    ):
        if head.startswith(magic):
            return family
    return "mp3" if _is_mp3(head) else None


def _is_matroska(head: bytes) -> bool:
    """An EBML header of the type matroska or webm, then a segment (nothing else may stand there)."""
    length = 9 - head[4].bit_length() if len(head) > 4 and head[4] else 9
    if length > 8:
        return False
    size = int.from_bytes(head[4 : 4 + length], "big") & ~(1 << 7 * length)
    body, rest = head[4 + length : 4 + length + size], head[4 + length + size :]
    named = any(b"\x42\x82" + bytes([0x80 | len(kind)]) + kind in body for kind in (b"matroska", b"webm"))
    return named and rest.startswith((b"\x18\x53\x80\x67", b"\xec", b"\xbf"))


def _is_mp3(head: bytes) -> bool:
    """An ID3v2 tag, or a valid layer III frame with another one right behind it."""
    if head.startswith(b"ID3"):
        return len(head) >= 10 and head[3] in (2, 3, 4) and max(head[6:10]) < 0x80
    length = mp3_frame_bytes(head)
    return length is not None and mp3_frame_bytes(head[length:]) is not None


def mp3_frame_bytes(head: bytes) -> int | None:
    """Length of the layer III frame that begins here (``None``: none does)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or not 1 <= bitrate <= 14 or rate == 3:
        return None
    kbits = _MP3_KBITS[version == 3][bitrate - 1]
    return (144 if version == 3 else 72) * kbits * 1000 // _MP3_RATES_HZ[version][rate] + (head[2] >> 1 & 1)
