"""The packets of one stream: their times, and whether the file holds them all. Nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        damaged: a packet was incomplete, or the demuxer failed.
        ends_s: the latest end of any stream of the file, on the container's clock.
        by_order: the container keeps no times of showing (avi with reordered frames): the times are those of decoding,
            and the i-th picture that the decoder gives is the i-th shown.
    """

    pts: np.ndarray
    durations: np.ndarray
    keys: np.ndarray
    damaged: bool
    ends_s: float
    by_order: bool = False

    @classmethod
    def read(cls, path: Path, container: Any, stream: Any) -> PacketTable:
        """Demux the whole file once.

        Raises:
            MediaError: an unknown codec, no packet at all, or packets without times.
        """
        if stream.codec_context is None:
            raise MediaError(f"{path}: its {stream.type} is coded in a way that is not known here. Re-encode the file.")
        rows: list[tuple[int | None, int | None, int, bool]] = []
        damaged, ends_s, held = False, 0.0, 0
        try:
            for packet in container.demux():
                own = packet.stream_index == stream.index
                if packet.pts is not None:
                    ends_s = max(ends_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.size == 0:  # the marks of the end; in avi also a frame that was dropped: the last one stays
                    held = max(held, (packet.dts or 0) + (packet.duration or 0)) if own else held
                    continue
                if not own:
                    continue
                damaged = damaged or packet.is_corrupt
                if not packet.is_corrupt and _is_shown(packet, stream):
                    rows.append((packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe))
        except av.FFmpegError:
            damaged = True  # the demuxer met the end in the middle of something; check_whole tells where
        if not rows:
            raise MediaError(f"{path}: its {stream.type} stream holds nothing that could be read. Copy it again.")
        return cls._of_rows(path, stream, rows, avi=container.format.name == "avi")._held(held, damaged, ends_s)

    @classmethod
    def _of_rows(cls, path: Path, stream: Any, rows: list[Any], *, avi: bool) -> PacketTable:
        # avi keeps no times of showing; what the demuxer makes up for H.264 is in the order of decoding.
        by_order = avi and stream.type == "video" and any(pts != dts for pts, dts, _, _ in rows)
        times = {(dts if by_order else pts): (duration, key) for pts, dts, duration, key in reversed(rows)}
        if None in times:
            raise MediaError(
                f"{path}: its {stream.type} carries no times, so nothing can be found again. "
                "Re-encode it: ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"
            )
        pts = np.array(sorted(times), np.int64)
        durations, keys = (np.array([times[int(p)][i] for p in pts]) for i in (0, 1))
        return cls(pts, durations, keys, damaged=False, ends_s=0.0, by_order=by_order)

    def _held(self, held: int, damaged: bool, ends_s: float) -> PacketTable:
        """The table with what was met on the way; the last frame stays up to ``held``, where later ones were dropped."""
        durations = self.durations.copy()
        durations[-1] = max(int(durations[-1]), held - int(self.pts[-1]))
        return replace(self, durations=durations, damaged=damaged, ends_s=ends_s)

    def first(self, count: int) -> PacketTable:
        """The first ``count`` packets (at least one), of which the last is shown up to the end of all."""
        count = max(1, min(count, len(self.pts)))
        durations = self.durations[:count].copy()
        durations[-1] = int(self.pts[-1] + self.durations[-1] - self.pts[count - 1])
        return replace(self, pts=self.pts[:count], durations=durations, keys=self.keys[:count])

    def check_whole(self, path: Path, family: str, container: Any, stream: Any) -> tuple[str, ...]:
        """A note where bytes are missing at the end of the file, but none of this stream.

        Raises:
            MediaError: the stream is cut off; the message says at which second.
        """
        missing = missing_bytes(path, family)
        step_s = float(stream.time_base * int(np.median(self.durations))) or 0.04
        announced_s = (container.duration or 0) / av.time_base
        # What a header counts is a hint, times decide: of frames outside an edit list, or dropped, there are none.
        # mp4 and avi announce the length of each stream, matroska only that of the file.
        if stream.duration:
            short = (stream.start_time or 0) + stream.duration - int(self.pts[-1] + self.durations[-1])
            spare_s = step_s / 2 if missing else step_s + SAME_DURATION_S
            vouched, lacking = True, float(short * stream.time_base) > spare_s
        else:
            short_s = announced_s + (container.start_time or 0) / av.time_base - self.ends_s
            vouched, lacking = announced_s > 0 and short_s <= step_s + SAME_DURATION_S, False
        if not (self.damaged or lacking or (missing and not vouched)):
            return (f"the file lacks {missing} bytes at its end, but nothing of its {stream.type}",) if missing else ()
        stop_s = float(int(self.pts[-1] - self.pts[0]) * stream.time_base) + step_s
        if family == "avi" and not (missing or self.damaged):  # its header is written first, and often left wrong
            told_s = float(stream.duration * stream.time_base)
            return (f"the header announces {told_s:.2f} s of {stream.type}, {stop_s:.2f} s are there",)
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
