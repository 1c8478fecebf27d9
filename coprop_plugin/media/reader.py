"""``read_clip``: a video, or a folder of frames and its sound, as a :class:`Clip` on a named time base."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import MediaError
from ..structures import Clip, FrameStack, Sampling, Sound, TimeBase, parse_sampling
from .backend import Backend, VideoStream, probe
from .canvas import NoSoundError, Track
from .folder import frame_paths
from .images import read_rgb
from .sniff import VIDEO_FAMILIES, regular_file, sniff
from .sound import read_track
from .timeline import SAME_TIME_S, sampled_indices
from .video import FrameCache, VideoFile

PathLike = str | os.PathLike[str]


def read_clip(
    source: PathLike,
    *,
    audio: PathLike | None = None,
    sampling: str | Sampling = "avsbench",
    silent_ok: bool = False,
    backend: Backend = "auto",
    clip_id: str | None = None,
) -> Clip:
    """Open a clip; frames are decoded when asked for, the sound is read now.

    A video's clock begins with its first frame. Its number of frames follows from its duration: ``avsbench`` takes one
    for each whole second (at least one), ``uniform`` ``ceil(duration * rate)``. A folder gives the frames that it holds,
    one for each step of the sampling. The sound is exactly as long as the frames' windows: longer sound is cut,
    shorter or late sound padded with zeros, and ``Clip.notes`` tell it.

    Args:
        source: a video file (mp4/mov, mkv/webm, avi), or a folder of numbered frames (png or jpeg).
        audio: a sound file (wav, flac, mp3, ogg) or video whose sound is taken; for a folder needed.
        sampling: ``"avsbench"`` or ``"uniform:RATE"``.
        silent_ok: treat a clip without sound as silence.
        backend: what decodes video; ``auto`` takes PyAV first.
        clip_id: name of the clip; by default that of the file or folder.

    Raises:
        MediaError: the source or its sound cannot be read as a whole, or must not be.
        CoPropError: an unknown sampling or backend.
    """
    sampling = parse_sampling(sampling)
    if Path(source).is_dir():
        return _folder_clip(Path(source), audio, sampling, silent_ok, clip_id)
    path, family = regular_file(source), sniff(source)
    if family not in VIDEO_FAMILIES:
        raise MediaError(
            f"{source}: is {family}, no video. For single frames give their folder, and their sound with audio=FILE."
        )
    return _video_clip(probe(path, family, backend=backend), audio, sampling, silent_ok, clip_id)


def _video_clip(
    stream: VideoStream, audio: PathLike | None, sampling: Sampling, silent_ok: bool, clip_id: str | None
) -> Clip:
    indices, notes = sampled_indices(stream.timeline, sampling)
    time_base = TimeBase.of(sampling, len(indices))
    unread_s = stream.timeline.duration_s - time_base.duration_s
    if unread_s > SAME_TIME_S:
        notes = (*notes, f"the last {unread_s:.3f} s of the video are no whole second and are left out")
    if audio is None:
        track = _or_silence(stream.path, stream.start_s, time_base, silent_ok)
    else:
        track = read_track(audio, duration_s=time_base.duration_s)
    video = VideoFile(stream)
    return Clip(
        clip_id=clip_id or stream.path.stem,
        frames=FrameStack(
            partial(_sampled_frame, video, indices),
            num_frames=len(indices),
            frame_shape=(*stream.size, 3),
            dtype=np.uint8,
        ),
        sound=track.sound,
        time_base=time_base,
        between=partial(_between, video, indices, time_base.frame_time_s),
        notes=(*stream.notes, *notes, *track.notes),
    )


def _or_silence(path: Path, origin_s: float | None, time_base: TimeBase, silent_ok: bool) -> Track:
    try:
        return read_track(path, origin_s=origin_s, duration_s=time_base.duration_s)
    except NoSoundError:
        if not silent_ok:
            raise
        return Track(Sound.silence(time_base.duration_s), ("no audio stream: taken as silence",))


def _sampled_frame(video: VideoFile, indices: np.ndarray, t: int) -> np.ndarray:
    return video.frame(int(indices[t]))


def _between(
    video: VideoFile, indices: np.ndarray, frame_time_s: np.ndarray, start_s: float, stop_s: float
) -> Iterator[np.ndarray]:
    """``Clip.between``: a bound that is the time of a frame of the clip stands for that frame's own time.

    The frame shown at 0.9375 s may begin at 0.92 s or, by AVSBench's count, a little later; either way it is not
    between itself and the next.
    """
    times_s = video.stream.timeline.times_s

    def own_time(time_s: float) -> float:
        t = int(np.abs(frame_time_s - time_s).argmin())
        return float(times_s[indices[t]]) if abs(frame_time_s[t] - time_s) < 1e-6 else time_s

    return video.strictly_between(own_time(start_s), own_time(stop_s))


def _folder_clip(
    folder: Path, audio: PathLike | None, sampling: Sampling, silent_ok: bool, clip_id: str | None
) -> Clip:
    paths = frame_paths(folder)
    time_base = TimeBase.of(sampling, len(paths))
    if audio is None and not silent_ok:
        raise MediaError(
            f"{folder}: a folder of frames has no sound of its own. Give it with audio=FILE, or treat the clip as "
            "silent with silent_ok=True (--silent-ok on the command line)."
        )
    if audio is None:
        track = Track(Sound.silence(time_base.duration_s), ("no sound given: taken as silence",))
    else:
        track = read_track(audio, duration_s=time_base.duration_s)
    pictures = _FolderFrames(paths)
    # AVSBench keeps the frames of a clip in <uid>/frames.
    name = folder.absolute().parent.name if folder.name == "frames" else folder.absolute().name
    return Clip(
        clip_id=clip_id or name,
        frames=FrameStack(pictures, num_frames=len(paths), frame_shape=(*pictures.size, 3), dtype=np.uint8),
        sound=track.sound,
        time_base=time_base,
        notes=track.notes,
    )


class _FolderFrames:
    """The pictures of a folder, all of the ``size`` of the first, which is read now."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths, self._cache = paths, FrameCache()
        self.size = self._cache.get(0, lambda t: read_rgb(paths[t])).shape[:2]

    def __call__(self, t: int) -> np.ndarray:
        return self._cache.get(t, self._read)

    def _read(self, t: int) -> np.ndarray:
        frame = read_rgb(self._paths[t])
        if frame.shape[:2] != self.size:
            raise MediaError(
                f"{self._paths[t]}: is {frame.shape[1]}x{frame.shape[0]}, the first frame "
                f"{self.size[1]}x{self.size[0]}; the frames of a clip have one size."
            )
        return frame
