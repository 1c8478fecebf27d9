"""Sound files whose headers count wrongly: the counts are corrected by what the file holds, without touching it.

Writers that stream cannot know how long the sound will be: flac says 0 samples, wav 0 or the largest size there is; the
count of an mp3's Xing header is often left from before a cut. libsndfile believes all of them.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .sniff import mp3_frame_bytes

# What writers to a pipe put where a size belongs: nothing, or as much as fits (sox: 0x7ffff000 and the header).
_UNKNOWN_SIZES = (0, *range(0x7FFFF000, 0x80000001), 0xFFFFFFFF)
_HEAD_BYTES = 1 << 16
_MP3_DELAY_BYTES = 8192  # a Xing header lies in the first frame behind the tag
_SAMPLES_BITS = 36
_RATE_BITS = 20
_MAX_SAMPLES_S = 24 * 3600


@dataclass(frozen=True)
class Counted:
    """A sound file as it can be believed.

    Attributes:
        path: the file.
        patches: offset -> bytes that are read there instead of the file's own.
        notes: what was corrected.
    """

    path: Path
    patches: Mapping[int, bytes]
    notes: tuple[str, ...] = ()

    @contextmanager
    def open(self) -> Iterator[Any]:
        """What ``soundfile`` opens: the path, or where counts are corrected a file object."""
        if not self.patches:
            yield str(self.path)
            return
        with _Patched(self.path, self.patches) as file:
            yield file


def counted(path: Path, family: str) -> Counted:
    """The file with its counts corrected where they cannot be true; packets are counted, none is decoded."""
    correct = {"wav": _wav, "flac": _flac, "mp3": _mp3}.get(family)
    return (correct(path) if correct else None) or Counted(path, {})


def _wav(path: Path) -> Counted | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] != b"RIFF":
        return None  # RF64 keeps its sizes elsewhere
    at = 12
    while at + 8 <= len(head) and head[at : at + 4] != b"data":
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little") + (head[at + 4] & 1)
    held = size - at - 8
    announced = int.from_bytes(head[at + 4 : at + 8], "little")
    if at + 8 > len(head) or held <= 0 or announced not in _UNKNOWN_SIZES or announced == held:
        return None
    if held > 0xFFFFFFFE - at:
        return None  # more than its sizes can say
    note = f"its header does not know how long the sound is; it is read to the end of the file ({held} bytes)"
    return Counted(path, {4: struct.pack("<I", at + held), at + 4: struct.pack("<I", held)}, (note,))


def _flac(path: Path) -> Counted | None:
    """STREAMINFO: 20 bits of rate, 3 of channels, 5 of depth, then 36 bits of samples."""
    with path.open("rb") as file:
        head = file.read(26)
    field = int.from_bytes(head[18:26], "big")
    rate_hz, announced = field >> (64 - _RATE_BITS), field & ((1 << _SAMPLES_BITS) - 1)
    if len(head) < 26 or head[4] & 0x7F or (0 < announced <= _MAX_SAMPLES_S * max(rate_hz, 1)):
        return None
    packets = _packets(path, "flac")
    if packets is None or not 0 < packets.samples < 1 << _SAMPLES_BITS:
        return None
    field = field >> _SAMPLES_BITS << _SAMPLES_BITS | packets.samples
    note = f"its header announces {announced} samples; {packets.samples} are there"
    return Counted(path, {18: field.to_bytes(8, "big")}, (note,))


def _mp3(path: Path) -> Counted | None:
    """The Xing (or Info) header: flags, then where they say so the frames and the bytes of the file."""
    packets = _packets(path, "mp3")
    if packets is None or packets.start is None:
        return None
    with path.open("rb") as file:
        file.seek(max(0, packets.start - _MP3_DELAY_BYTES))
        before = file.read(min(packets.start, _MP3_DELAY_BYTES))
    found = max(before.rfind(b"Xing"), before.rfind(b"Info"))
    if found < 0 or not before[found + 7 : found + 8] or not before[found + 7] & 1:
        return None
    announced = int.from_bytes(before[found + 8 : found + 12], "big")
    if announced == packets.count:
        return None
    at = packets.start - len(before) + found
    patches = {at + 8: packets.count.to_bytes(4, "big")}
    if before[found + 7] & 2:
        patches[at + 12] = min(path.stat().st_size - at, 0xFFFFFFFF).to_bytes(4, "big")
    note = f"its header counts {announced} blocks of sound; {packets.count} are there"
    return Counted(path, patches, (note,))


@dataclass(frozen=True)
class _Packets:
    """Whole packets of sound: how many, their samples, and the offset of the first."""

    count: int
    samples: int
    start: int | None


def _packets(path: Path, form: str) -> _Packets | None:
    try:
        import av
    except ImportError:
        return None  # the header is all there is
    count, samples, start, cut = 0, 0, None, False
    try:
        with av.open(str(path), format=form) as container:
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                if packet.size:
                    start = packet.pos if start is None else start
                    count, samples = count + 1, samples + round((packet.duration or 0) * packet.time_base * stream.rate)
                    cut = form == "mp3" and packet.size < (mp3_frame_bytes(bytes(packet)[:4]) or 0)
    except (av.FFmpegError, IndexError, ValueError):
        return None
    count -= cut  # decoders fill a last frame that is not whole with the one before
    return _Packets(count, samples, start) if count else None


class _Patched(io.RawIOBase):
    """A file to read with some bytes replaced."""

    def __init__(self, path: Path, patches: Mapping[int, bytes]) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._patches = patches

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        for at, patch in self._patches.items():
            low, high = max(at, start), min(at + len(patch), start + len(data))
            if low < high:
                data[low - start : high - start] = patch[low - at : high - at]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
