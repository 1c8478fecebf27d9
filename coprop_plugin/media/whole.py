"""Whether a media file is all there, by the lengths that its own outermost structure announces."""

from __future__ import annotations

from pathlib import Path
from typing import IO

# Some writers count their own 8 byte header, or forget a pad byte, in a RIFF length.
_RIFF_SLACK_BYTES = 16
_MAX_BOXES = 1_000_000  # of an mp4; fragmented ones have two for each fragment


def missing_bytes(path: Path, family: str) -> int:
    """How many announced bytes the file lacks; 0 where it is whole or does not tell (live recordings, mp3, ogg)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        announced = {"mp4": _mp4_end, "matroska": _matroska_end, "avi": _riff_end, "wav": _riff_end}.get(family)
        end = announced(file, size) if announced else size
    return max(0, end - size)


def has_mp4_index(path: Path) -> bool:
    """Whether an mp4's index (``moov``) is there; without it nothing can be read."""
    with path.open("rb") as file:
        return any(kind == b"moov" for kind, _ in _mp4_boxes(file, path.stat().st_size))


def _mp4_boxes(file: IO[bytes], size: int) -> list[tuple[bytes, int]]:
    """Kind and end of each outermost box, up to the first that the file does not hold."""
    boxes: list[tuple[bytes, int]] = []
    start = 0
    while start + 8 <= size and len(boxes) < _MAX_BOXES:
        file.seek(start)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        end = size if length == 0 else start + length
        if end < start + 8:
            break
        boxes.append((kind, end))
        start = end
    return boxes


def _mp4_end(file: IO[bytes], size: int) -> int:
    return max((end for _, end in _mp4_boxes(file, size)), default=size)


def _matroska_end(file: IO[bytes], size: int) -> int:
    """End of the segment, the only element behind the EBML header (sniffed before)."""
    start = 0
    while start < size:
        file.seek(start)
        head = file.read(12)
        id_length = 9 - head[0].bit_length() if head and head[0] else 9
        if id_length > 4 or len(head) <= id_length or not head[id_length]:
            return size
        length = 9 - head[id_length].bit_length()
        value = int.from_bytes(head[id_length : id_length + length], "big") & ~(1 << 7 * length)
        if value == (1 << 7 * length) - 1:
            return size  # written live: the length was never filled in
        end = start + id_length + length + value
        if head.startswith(b"\x18\x53\x80\x67"):
            return end
        start = end
    return size


def _riff_end(file: IO[bytes], size: int) -> int:
    length = int.from_bytes(file.read(8)[4:8], "little")
    if length in (0, 0xFFFFFFFF) or 8 + length - size <= _RIFF_SLACK_BYTES:
        return size
    return 8 + length
