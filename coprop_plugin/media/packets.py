"""The packets of one stream: their times, and whether the file holds them all. Nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import MediaError
from .timeline import SAME_DURATION_S
from .whole import has_mp4_index, missing_bytes

# The demuxer is named, not guessed, so no other one (a playlist's) can take the file.
DEMUXER = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
# Titles that are not UTF-8 do no harm; PyAV before 19 has to be told.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(path: Path, family: str) -> Any:
    """The opened container, its demuxer named.

    Raises:
        MediaError: what the demuxer said; a missing mp4 index is told as what it is, a cut-off file.
    """
    try:
        return av.open(str(path), format=DEMUXER[family], **_LENIENT)
    except (av.FFmpegError, ValueError) as error:
        if family == "mp4" and not has_mp4_index(path):
            raise MediaError(
                f"{path}: is cut off: its index (moov), which stands at the end, is missing, so nothing of it can be "
                "read. Copy or download it again."
            ) from error
        raise MediaError(
            f"{path}: cannot be opened as {family} ({error}). It may be damaged; copy it again."
        ) from error


def video_streams(container: Any) -> list[Any]:
    """The moving pictures of a container (cover pictures are not)."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


@dataclass(frozen=True)
class PacketTable:
    """The packets that are shown, in order of their times, and what was met on the way.

    Attributes:
        pts: ``(N,) int64`` distinct times in the stream's ticks, increasing.
        durations: ``(N,) int64`` ticks, 0 where unknown.
        keys: ``(N,) bool``, decoding can begin here.
        count: packets of the stream, hidden ones included.
        damaged: a packet was incomplete, or the demuxer failed.
        ends_s: the latest end of any stream of the file, on the container's clock.
    """

    pts: np.ndarray
    durations: np.ndarray
    keys: np.ndarray
    count: int
    damaged: bool
    ends_s: float

    @classmethod
    def read(cls, path: Path, container: Any, stream: Any) -> PacketTable:
        """Demux the whole file once.

        Raises:
            MediaError: an unknown codec, no packet at all, or packets without times.
        """
        if stream.codec_context is None:
            raise MediaError(f"{path}: its {stream.type} is coded in a way that is not known here. Re-encode the file.")
        rows: dict[int, tuple[int, bool]] = {}
        count, damaged, ends_s = 0, False, 0.0
        try:
            for packet in container.demux():
                if packet.size == 0:  # the marks of the end
                    continue
                if packet.pts is not None:
                    ends_s = max(ends_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index != stream.index:
                    continue
                count, damaged = count + 1, damaged or packet.is_corrupt
                if packet.is_corrupt or not _is_shown(packet, stream):
                    continue
                if packet.pts is None:
                    raise MediaError(
                        f"{path}: its {stream.type} carries no times (B-frames in avi), so nothing can be found again. "
                        "Re-encode it: ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"
                    )
                rows.setdefault(packet.pts, (packet.duration or 0, packet.is_keyframe))
        except av.FFmpegError:
            damaged = True  # the demuxer met the end in the middle of something; check_whole tells where
        if not rows:
            raise MediaError(f"{path}: its {stream.type} stream holds nothing that could be read. Copy it again.")
        pts = np.array(sorted(rows), np.int64)
        durations, keys = (np.array([rows[int(p)][i] for p in pts]) for i in (0, 1))
        return cls(pts, durations, keys, count, damaged, ends_s)

    def check_whole(self, path: Path, family: str, container: Any, stream: Any) -> tuple[str, ...]:
        """A note where bytes are missing at the end of the file, but none of this stream.

        Raises:
            MediaError: the stream is cut off; the message says at which second.
        """
        missing = missing_bytes(path, family)
        step_s = float(stream.time_base * int(np.median(self.durations))) or 0.04
        announced_s = (container.duration or 0) / av.time_base
        # mp4 and avi announce the length of each stream (pictures are counted exactly), matroska only that of the file.
        if stream.type == "video" and stream.frames:
            vouched, lacking = True, self.count < stream.frames
        elif stream.duration:
            short = (stream.start_time or 0) + stream.duration - int(self.pts[-1] + self.durations[-1])
            vouched, lacking = True, float(short * stream.time_base) > step_s + SAME_DURATION_S
        else:
            short_s = announced_s + (container.start_time or 0) / av.time_base - self.ends_s
            vouched, lacking = announced_s > 0 and short_s <= step_s + SAME_DURATION_S, False
        if not (self.damaged or lacking or (missing and not vouched)):
            return (f"the file lacks {missing} bytes at its end, but nothing of its {stream.type}",) if missing else ()
        stop_s = float(int(self.pts[-1] - self.pts[0]) * stream.time_base) + step_s
        raise MediaError(
            f"{path}: is cut off or damaged: its {stream.type} ends at {stop_s:.2f} s"
            + (f" of {announced_s:.2f} s" if announced_s else "")
            + (f", {missing} bytes are missing" if missing else "")
            + ". Copy or download it again; to use what is there, write it as a whole file: "
            f"ffmpeg -i INPUT -t {max(stop_s - step_s, step_s):.2f} -c:v libx264 -c:a aac OUTPUT.mp4"
        )


def _is_shown(packet: Any, stream: Any) -> bool:
    """Whether a packet gives a picture: not outside an edit list, and no hidden reference frame of VP8."""
    if packet.is_discard:
        return False
    if stream.type == "video" and stream.codec_context.name in ("vp8", "libvpx"):
        return bool(bytes(packet)[0] & 0x10)
    return True
