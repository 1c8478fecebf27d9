"""The checksums of a PNG: a flipped bit in it changes labels, and decoders look at the header's alone."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from ..errors import MediaError

_HEAD = 8  # the signature before the first chunk


def check_checksums(path: str | os.PathLike[str]) -> None:
    """Walk the chunks of a sniffed PNG up to its end; each carries the CRC-32 of its name and data.

    Raises:
        MediaError: a chunk whose checksum is another, or a file that ends before its last chunk.
    """
    with Path(path).open("rb") as file:
        file.seek(_HEAD)
        while True:
            head = file.read(8)
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            left = os.fstat(file.fileno()).st_size - file.tell()
            if len(head) < 8 or length + 4 > left:
                raise MediaError(
                    f"{path}: the picture is damaged or cut off (its last chunk is missing). Write it again."
                )
            found = zlib.crc32(file.read(length), zlib.crc32(name))
            if found != int.from_bytes(file.read(4), "big"):
                raise MediaError(
                    f"{path}: the picture is damaged: the checksum of its chunk {name.decode('latin-1')!a} is not that of "
                    "its content. Copy or write it again."
                )
            if name == b"IEND":
                return
