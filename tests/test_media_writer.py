"""Videos that are written: read back, they show the same pictures and sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, numbered, tone

from coprop_plugin.errors import MediaError
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.video_writer import write_video
from coprop_plugin.structures import Sound


@pytest.mark.parametrize(
    ("rate", "written"), [(Fraction(25), 12), (Fraction(30000, 1001), 12), (Fraction(1), 120), (Fraction(4), 36)]
)
def test_pictures_and_rate_come_back(tmp_path: Path, rate: Fraction, written: int) -> None:
    """Slow rates are repeated pictures, so that players do not stumble; each is shown from k/rate on."""
    frames = [numbered(k) for k in range(12)]
    write_video(tmp_path / "a.mp4", iter(frames), rate_hz=rate, sound=None)
    clip = read_clip(tmp_path / "a.mp4", sampling=f"uniform:{rate}", silent_ok=True)
    assert [number_of(frame) for frame in clip.frames] == list(range(12))
    assert max(np.abs(clip.frames[k].astype(int) - frames[k]).mean() for k in range(12)) < 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate * (written // 12) and stream.frames == written
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_odd_sizes_are_padded_by_their_edge(tmp_path: Path) -> None:
    frames = [numbered(k, size=(51, 99)) for k in range(3)]
    write_video(tmp_path / "a.mp4", frames, rate_hz=Fraction(25), sound=None)
    clip = read_clip(tmp_path / "a.mp4", sampling="uniform:25", silent_ok=True)
    assert clip.size == (52, 100)
    assert np.abs(clip.frames[2][50, :99].astype(int) - clip.frames[2][51, :99]).mean() < 4


@pytest.mark.parametrize(
    ("rate_hz", "kept"), [(44100, True), (16000, True), (48000, True), (8000, True), (11000, False)]
)
def test_sound_keeps_its_rate_where_aac_has_it(tmp_path: Path, rate_hz: int, kept: bool) -> None:
    sound = Sound(tone(3.0, rate_hz=rate_hz), rate_hz)
    write_video(tmp_path / "a.mp4", [numbered(k) for k in range(3)], rate_hz=Fraction(1), sound=sound)
    clip = read_clip(tmp_path / "a.mp4")
    assert clip.sound.rate_hz == (rate_hz if kept else 48000) and clip.num_frames == 3
    wanted = tone(3.0, rate_hz=clip.sound.rate_hz)
    middle = slice(len(wanted) // 4, len(wanted) // 2)
    assert np.abs(clip.sound.samples[middle] - wanted[middle]).max() < 0.1


def test_sound_ends_with_the_pictures(tmp_path: Path) -> None:
    sound = Sound(tone(9.0), 44100)
    write_video(tmp_path / "a.mp4", [numbered(k) for k in range(2)], rate_hz=Fraction(1), sound=sound)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert abs(container.duration / av.time_base - 2.0) < 0.05


def test_a_written_clip_is_that_of_avsbench(tmp_path: Path) -> None:
    """One picture a second: its frame of second k is picture k."""
    write_video(tmp_path / "a.mp4", [numbered(k) for k in range(5)], rate_hz=Fraction(1), sound=Sound(tone(5.0), 44100))
    clip = read_clip(tmp_path / "a.mp4")
    assert [number_of(frame) for frame in clip.frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("frames", "rate", "told"),
    [
        ([], 1, "at least one frame, got none"),
        (
            [numbered(0), numbered(1, size=(48, 98))],
            1,
            r"frame 1 is uint8 \(48, 98, 3\); .* all of one size \(48, 96, 3\)",
        ),
        ([numbered(0) / 255], 1, r"frame 0 is float64 \(48, 96, 3\); frames are \(H, W, 3\) uint8"),
        ([numbered(0)[..., 0]], 1, r"frame 0 is uint8 \(48, 96\)"),
        ([numbered(0)], 0, "rate of a video is positive"),
    ],
)
def test_bad_frames_leave_the_old_file(tmp_path: Path, frames: list[np.ndarray], rate: int, told: str) -> None:
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(MediaError, match=told):
        write_video(tmp_path / "a.mp4", frames, rate_hz=Fraction(rate), sound=None)
    assert (tmp_path / "a.mp4").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
