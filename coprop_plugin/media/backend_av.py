"""Video by PyAV: an exact table of frames from the packets, decoding forward and seeking by it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from .forks import never_free_in_children
from .images import MAX_PIXELS
from .packets import PacketTable, open_container, video_streams
from .timeline import Timeline

MAX_THREADS = 4
FORWARD_FRAMES = 128  # decode on over gaps up to this before a seek is tried


@dataclass(frozen=True)
class AvStream:
    """A video stream as :class:`~coprop_plugin.media.backend.VideoStream`, with what seeking needs.

    Attributes:
        pts: ``(N,) int64`` times of the frames in the stream's ticks, increasing.
        keyframes: indices of the frames where decoding can begin, increasing.
        streams: how many video streams the file holds; this is the first.
        by_order: the i-th decoded picture is frame i; decoding always begins at the start.
    """

    path: Path
    family: str
    timeline: Timeline
    start_s: float
    size: tuple[int, int]
    pts: np.ndarray
    keyframes: np.ndarray
    streams: int = 1
    notes: tuple[str, ...] = ()
    by_order: bool = False

    def open(self) -> AvDecoder:
        return AvDecoder(self)


def probe(path: Path, family: str) -> AvStream:
    """Read the table of frames (every packet is looked at, none decoded) and the first frame.

    Raises:
        MediaError: no video stream, frames without times, a cut-off file (with the second where it ends), too large.
    """
    with open_container(path, family) as container:
        streams = video_streams(container)
        if not streams:
            raise MediaError(f"{path}: holds no video stream. For sound alone give a folder of frames and audio=FILE.")
        stream = streams[0]
        packets = PacketTable.read(path, container, stream)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise MediaError(f"{path}: announces frames of {width}x{height}; at most {MAX_PIXELS} pixels are read.")
        notes = [f"{len(streams)} video streams; the first one is read"] if len(streams) > 1 else []
        notes += packets.check_whole(path, family, container, stream)
        if packets.by_order:
            packets = packets.first(_count(path, family))
        found = _table(path, family, stream, packets)
    first = _first_frame(found)
    begin = int(np.searchsorted(found.pts, first.pts))
    if begin:
        # Cut inside a group of pictures: what cannot be decoded before the first whole frame is not shown by players.
        notes.append(
            f"the first {begin} frames cannot be decoded (the file was cut between keyframes) and are left out"
        )
        found = _without_start(found, begin)
    return replace(found, size=_Picture(path)(first).shape[:2], streams=len(streams), notes=tuple(notes))


def _table(path: Path, family: str, stream: Any, packets: PacketTable) -> AvStream:
    """The stream over all its frames; the size is not known yet."""
    tick: Fraction = stream.time_base
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    steps = np.diff(packets.pts)
    last = int(packets.durations[-1]) or (int(np.median(steps)) if len(steps) else 0)
    times_s = (packets.pts - packets.pts[0]) * float(tick)
    timeline = Timeline(times_s, float(times_s[-1]) + (float(last * tick) or 1 / float(rate)), float(rate))
    start_s = float(int(packets.pts[0]) * tick)
    keyframes = np.array([0]) if packets.by_order else np.flatnonzero(packets.keys)
    return AvStream(path, family, timeline, start_s, (0, 0), packets.pts, keyframes, by_order=packets.by_order)


def _count(path: Path, family: str) -> int:
    """How many pictures the decoder gives: where only their order tells them apart, all are decoded once."""
    with open_container(path, family) as container:
        try:
            return sum(1 for _ in container.decode(video_streams(container)[0]))
        except av.FFmpegError as error:
            raise MediaError(
                f"{path}: its video is damaged ({error}), and without times of showing (avi) what lies behind cannot be "
                "placed. Copy or download it again."
            ) from error


def _without_start(stream: AvStream, begin: int) -> AvStream:
    """The stream without its first ``begin`` frames; its clock begins with the next one."""
    line = stream.timeline
    passed_s = float(line.times_s[begin])
    return replace(
        stream,
        timeline=Timeline(line.times_s[begin:] - passed_s, line.duration_s - passed_s, line.declared_rate_hz),
        start_s=stream.start_s + passed_s,
        pts=stream.pts[begin:],
        keyframes=stream.keyframes[stream.keyframes >= begin] - begin,
    )


def _first_frame(stream: AvStream) -> Any:
    reason = "it holds no keyframe"
    with open_container(stream.path, stream.family) as container:
        for packet in container.demux(video_streams(container)[0]):
            try:
                for frame in packet.decode():
                    if stream.by_order:
                        frame.pts = int(stream.pts[0])
                    if frame.pts is not None and frame.pts >= stream.pts[0] and not frame.is_corrupt:
                        return frame
            except av.FFmpegError as error:
                reason = str(error)
    raise MediaError(f"{stream.path}: no frame of its video can be decoded ({reason}). Copy or download it again.")


class _Picture:
    """Frames as ``(H, W, 3) uint8`` RGB, turned as the container says they are shown (phones film lying down).

    One converter for all frames, without threads: PyAV's own is made for each frame, or shared in ways that do not
    survive a fork.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._converter = path, VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        try:
            picture = self._converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(
                f"{self._path}: its pictures ({frame.width}x{frame.height} {frame.format.name}) cannot be converted to "
                f"RGB ({error}). Re-encode it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p -c:a aac OUTPUT.mp4"
            ) from error
        quarter_turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


class AvDecoder:
    """Decodes one file forward, and seeks where the wanted frame lies behind or far ahead.

    A frame counts as damaged also where a frame before it was, back to the last keyframe: decoders patch such
    pictures up from what they have and hand them out as if they were whole.
    """

    _packets: Iterator[Any]
    _damaged: list[range]
    _given: int  # pictures since decoding began

    def __init__(self, stream: AvStream) -> None:
        self._stream = stream
        self._decoded: deque[Any] = deque()
        self._picture = _Picture(stream.path)
        never_free_in_children(self)
        self._begin()

    def frame(self, index: int) -> np.ndarray:
        if self._is_ahead(index) and (frame := self._advance(index)) is not None:
            return frame
        for keyframe in self._starts(index):
            if self._seek(keyframe) and (frame := self._advance(index)) is not None:
                return frame
        self._begin()
        if (frame := self._advance(index)) is not None:
            return frame
        times_s = self._stream.timeline.times_s
        raise MediaError(
            f"{self._stream.path}: the video is damaged at {times_s[index]:.2f} s, frame {index} of {len(times_s)} "
            "cannot be decoded as a whole. Copy or download it again, or mend it: "
            "ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"
        )

    def _is_ahead(self, index: int) -> bool:
        """Whether decoding on is the way: no later keyframe stands between, or the frame is near."""
        gap = index - self._next
        return 0 <= gap <= FORWARD_FRAMES or (gap > 0 and next(self._starts(index), 0) <= self._next)

    def _advance(self, index: int) -> np.ndarray | None:
        """Decode on up to the frame ``index``; ``None`` where it does not come whole."""
        pts = self._stream.pts
        while (frame := self._next_frame()) is not None:
            if frame.is_corrupt:
                self._taint(frame.pts, before_frames=0)
            if frame.pts is None or frame.pts < pts[index]:
                continue
            self._next = self._index_of(frame.pts) + 1
            whole = frame.pts == pts[index] and not any(index in frames for frames in self._damaged)
            return self._picture(frame) if whole else None
        self._next = len(pts)
        return None

    def _next_frame(self) -> Any:
        """The next frame that the decoder gives; ``None`` at the end, or where the demuxer gives up."""
        while not self._decoded:
            try:
                packet = next(self._packets)
            except (StopIteration, av.FFmpegError):
                return None
            try:
                self._decoded.extend(packet.decode())
            except av.FFmpegError:
                # Threads tell it some packets late.
                self._taint(None if self._stream.by_order else packet.pts, before_frames=MAX_THREADS)
        frame = self._decoded.popleft()
        if self._stream.by_order:
            frame.pts = int(self._stream.pts[min(self._given, len(self._stream.pts) - 1)])
            self._given += 1
        return frame

    def _index_of(self, pts: int) -> int:
        return int(np.searchsorted(self._stream.pts, pts))

    def _taint(self, pts: int | None, *, before_frames: int) -> None:
        """Nothing is whole from here to the next keyframe (where no time tells: nothing at all)."""
        keyframes = self._stream.keyframes
        at = 0 if pts is None else self._index_of(pts)
        later = keyframes[keyframes > at] if pts is not None else keyframes[:0]
        self._damaged.append(range(at - before_frames, int(later[0]) if len(later) else len(self._stream.pts)))

    def _starts(self, index: int) -> Iterator[int]:
        """Keyframes from which ``index`` can be decoded: the last one shown up to it, then ever earlier ones.

        The last one is enough for closed and open groups of pictures; streams that refresh the picture bit by bit
        are only whole some keyframes later.
        """
        at, step = int(np.searchsorted(self._stream.keyframes, index, side="right")) - 1, 1
        while at > 0:
            yield int(self._stream.keyframes[at])
            at, step = at - step, 2 * step

    def _seek(self, keyframe: int) -> bool:
        """Go to a keyframe, or to one before it; false where the container cannot.

        Containers seek by decoding times, so the first try may land on a keyframe that is shown too late: then leading
        frames of the next group would be decoded without what they refer to.
        """
        target = int(self._stream.pts[keyframe])
        back, second = 0, max(1, round(1 / self._video.time_base))
        while target - back >= int(self._stream.pts[0]):
            try:
                self._container.seek(target - back, stream=self._video)
            except av.FFmpegError:
                return False  # an avi without a usable index
            packets = self._container.demux(self._video)
            first = next((p for p in packets if p.is_keyframe and p.pts is not None), None)
            if first is not None and first.pts <= target:
                self._read_on(chain([first], packets), self._index_of(first.pts))
                return True
            back = 2 * back + second
        return False

    def _begin(self) -> None:
        """Open the file anew, at its first frame."""
        self._container = open_container(self._stream.path, self._stream.family)
        self._video = video_streams(self._container)[0]
        self._video.thread_type = "AUTO"
        self._video.codec_context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
        self._read_on(self._container.demux(self._video), 0)

    def _read_on(self, packets: Iterable[Any], index: int) -> None:
        self._packets, self._next, self._damaged, self._given = iter(packets), index, [], 0
        self._decoded.clear()
