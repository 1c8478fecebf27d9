"""Media as phones, capture cards and pipes leave them: what is shown and heard counts, not what a header counts."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import DATA
from media_clips import number_of, numbered, tone, write_clip

import coprop_plugin as cp
from coprop_plugin.errors import PredictionError
from coprop_plugin.media.backend import probe
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sound import read_track
from coprop_plugin.media.video import VideoFile

ODD = DATA / "odd"


def frames_of(path: Path, family: str) -> list[int]:
    video = VideoFile(probe(path, family))
    return [number_of(video.frame(i)) for i in range(len(video.stream.timeline))]


@pytest.mark.needs("data")
@pytest.mark.parametrize(("name", "seconds", "count"), [("el_mid10.mp4", 10.0, 300), ("drop2.avi", 5.0, 123)])
def test_a_trimmed_and_a_dropped_recording_are_read_by_their_times(name: str, seconds: float, count: int) -> None:
    clip = read_clip(ODD / name, sampling="uniform:5")
    assert clip.num_frames == 5 * seconds and clip.sound.duration_s == pytest.approx(seconds)
    assert len(probe(ODD / name, name[-3:]).timeline) == count


def test_an_edit_list_at_both_ends(tmp_path: Path) -> None:
    """A lossless trim keeps all frames in the file; the header counts them, the edit list shows fewer."""
    path = write_clip(tmp_path / "a.mp4", num_frames=60, options={"bf": "2", "g": "12"}, start_s=Fraction(-2, 5))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")  # version, flags, one entry: duration in the movie's clock, start, rate
    (duration,) = struct.unpack(">I", data[at + 12 : at + 16])
    data[at + 12 : at + 16] = struct.pack(">I", duration * 30 // 50)
    path.write_bytes(data)
    assert frames_of(path, "mp4")[:30] == list(range(10, 40))
    assert len(probe(path, "mp4").timeline) in (30, 31)  # one frame more is decoded where its time is rounded


@pytest.mark.parametrize("reordered", [0, 2])
def test_h264_and_mp3_in_an_avi(tmp_path: Path, reordered: int) -> None:
    """avi keeps the order of decoding alone: frame i is the i-th that the decoder gives."""
    path = write_clip(
        tmp_path / "a.avi",
        num_frames=60,
        options={"bf": str(reordered), "g": "12"},
        sounds=[tone(2.4)],
        sound_codec="libmp3lame",
    )
    video = VideoFile(probe(path, "avi"))
    assert [number_of(video.frame(i)) for i in (40, 3, 59, 0, 17)] == [40, 3, 59, 0, 17]
    assert frames_of(path, "avi") == list(range(60))
    assert read_clip(path, sampling="uniform:25").num_frames in (60, 61)


def test_frames_dropped_at_the_end_of_an_avi_leave_the_last_one_standing(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 96, "yuvj420p"
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(numbered(k), format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            for packet in stream.encode(frame):
                if k in (7, 8, 18, 19):
                    packet = av.Packet(b"")
                    packet.stream, packet.pts, packet.dts = stream, k, k
                    packet.time_base, packet.duration = Fraction(1, 25), 1
                if packet.size or k > 9:
                    container.mux(packet)
    timeline = probe(path, "avi").timeline
    assert frames_of(path, "avi") == [k for k in range(20) if k not in (7, 8, 18, 19)]
    assert timeline.times_s[7] == pytest.approx(9 / 25)


@pytest.mark.needs("data")
@pytest.mark.parametrize(
    ("name", "seconds", "told"),
    [
        ("flac_total0.flac", 5.0, "announces 0 samples; 80000 are there"),
        ("wav_soxpipe.wav", 5.0, "read to the end of the file"),
        ("mp3_xing_less.mp3", 5.0, "counts 133 blocks of sound; 193 are there"),
        ("mp3_cut.mp3", 4.9, "counts 193 blocks of sound; 189 are there"),
    ],
)
def test_sound_is_as_long_as_what_is_there(name: str, seconds: float, told: str) -> None:
    track = read_track(ODD / name)
    assert track.sound.duration_s == pytest.approx(seconds, abs=0.01)
    assert any(told in note for note in track.notes)


def noise(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    ints = np.random.default_rng(0).integers(-16000, 16000, round(seconds * rate_hz))
    return (ints / 32768).astype(np.float32)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", min(size + (36 if 0 < size < 2**31 - 36 else 0), 0xFFFFFFFF))
    data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)
    assert np.array_equal(read_track(path).sound.samples, noise(1.0))


@pytest.mark.parametrize("total", [0, (1 << 36) - 1])
def test_a_streamed_flac(tmp_path: Path, total: int) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(1.3), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    field = int.from_bytes(data[18:26], "big")
    data[18:26] = (field >> 36 << 36 | total).to_bytes(8, "big")
    path.write_bytes(data)
    assert np.array_equal(read_track(path).sound.samples, noise(1.3))
    assert len(read_track(path, duration_s=1.0).sound.samples) == 16000


@pytest.mark.needs("data")
@pytest.mark.parametrize("count", [1, 100, 193, 5000])
def test_an_mp3_sounds_alike_whatever_its_header_counts(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.mp3"
    data = bytearray((ODD / "mp3_xing_less.mp3").read_bytes())
    at = data.index(b"Xing") + 8
    heard = []
    for said in (193, count):
        data[at : at + 4] = said.to_bytes(4, "big")
        path.write_bytes(data)
        heard.append(read_track(path).sound.samples)
    assert len(heard[0]) == 220500 and np.array_equal(*heard)


# Masks that belong to another picture


@pytest.mark.needs("data")
def test_masks_of_a_turned_video_belong_to_the_shown_picture() -> None:
    clip = read_clip(ODD / "turned.mp4", sampling="uniform:1")
    assert cp.read_prediction(ODD / "turned_masks/m_shown", clip=clip).size == clip.size
    with pytest.raises(
        PredictionError, match=r"m_stored: the masks are 160x120 .* shown 120x160: the sides are swapped"
    ):
        cp.read_prediction(ODD / "turned_masks/m_stored", clip=clip)


@pytest.mark.parametrize(("size", "told"), [((48, 96), 0), ((24, 49), 0), ((48, 64), 1), ((50, 50), 1)])
def test_masks_of_another_shape_are_told(tmp_path: Path, size: tuple[int, int], told: int) -> None:
    clip = read_clip(write_clip(tmp_path / "a.mp4", num_frames=8, sounds=[tone(0.32)]), sampling="uniform:25")
    scores = np.zeros((8, *size), np.uint8)
    result = cp.CoProp(propagator="hold")(clip, cp.read_prediction(scores, clip=clip))
    assert sum("another shape" in note for note in result.notes) == told


def test_a_prediction_on_its_side_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    clip = read_clip(write_clip(tmp_path / "a.mp4", num_frames=8, sounds=[tone(0.32)]), sampling="uniform:25")
    model = cp.build_adapter("callable", function=lambda clip: np.zeros((8, 96, 48), np.float32), kind="probability")
    for base in (model, cp.read_prediction(np.zeros((8, 96, 48), np.uint8))):
        with pytest.raises(PredictionError, match="the sides are swapped"):
            cp.CoProp(propagator="hold")(clip, base)
